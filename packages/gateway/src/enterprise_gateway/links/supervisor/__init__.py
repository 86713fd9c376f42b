"""Links to kernels whose supervisor keeps their log."""

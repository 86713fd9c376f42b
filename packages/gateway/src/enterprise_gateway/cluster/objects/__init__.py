"""Objects of kernels: made, read, and taken away again."""

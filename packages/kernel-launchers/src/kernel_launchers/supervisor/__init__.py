"""Process 1 of a kernel's pod: starts the kernel as its child, reaps, forwards signals and says why the kernel ended."""

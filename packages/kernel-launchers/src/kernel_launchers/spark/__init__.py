"""Spark's part of a kernel: the kernel is the driver, in client mode, and its executors are pods that belong to the kernel's."""

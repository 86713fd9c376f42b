"""Which kernels can be started: found in Jupyter's folders, read once, seen again when they change."""

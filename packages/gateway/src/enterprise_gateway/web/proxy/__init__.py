"""Ports of a kernel's pod, through the gateway: Spark's UI, TensorBoard, Dask's dashboard."""

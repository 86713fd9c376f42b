"""Speaks Jupyter's kernel protocol to clients and runs each kernel as a pod or as a process of this machine."""

from enterprise_gateway._version import __version__

__all__ = ["__version__"]

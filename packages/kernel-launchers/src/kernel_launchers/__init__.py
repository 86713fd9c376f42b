"""Supervises a Jupyter kernel inside its pod."""

from kernel_launchers._version import __version__

__all__ = ["__version__"]

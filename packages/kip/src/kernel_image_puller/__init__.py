"""Has the images of a gateway's kernelspecs on a node before anyone asks for them."""

from kernel_image_puller._version import __version__

__all__ = ["__version__"]

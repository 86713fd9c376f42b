"""Labels, names, image references and settings shared by the gateway, the image puller and the launchers.

Only the standard library is used and nothing newer than Python 3.8: this package also goes into kernel images,
where the interpreter belongs to somebody else.
"""

from enterprise_gateway_common._version import __version__

__all__ = ["__version__"]

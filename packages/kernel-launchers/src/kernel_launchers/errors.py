"""What keeps a kernel from being started.

LaunchRefused           1   in words for whoever reads the pod's termination message
├── InvalidOptions      2   the command line or the environment is wrong
└── NotInstalled        3   the image lacks what is asked for

The number is the exit status.
"""

__all__ = ["InvalidOptions", "LaunchRefused", "NotInstalled"]


class LaunchRefused(Exception):
    """A kernel can't be started; the text says why and holds no secret."""

    status = 1


class InvalidOptions(LaunchRefused):
    """The command line or the environment is wrong."""

    status = 2


class NotInstalled(LaunchRefused):
    """The image lacks what is asked for."""

    status = 3

"""Everything that can go wrong here, as one tree; a pull's error class decides what happens next.

PullerError
├── ConfigurationError       a setting can't be used; the program ends with status 2
├── SourceFailed             a source of image names didn't answer; its last answer stays in force
├── KubernetesCallFailed     the API server refused or didn't answer
└── PullFailed               one try to pull one image
    ├── PermanentPullError   the registry or the runtime has said no; trying again soon is of no use
    ├── AuthenticationFailed the registry wants other credentials; they are read again once
    ├── TransientPullError   it may work the next time
    │   └── RegistryBusy     … and every other pull from this registry would fail in the same way now
    ├── DiskFull             there is no room on the node; all pulls wait
    ├── RuntimeAway          the container runtime doesn't answer; all pulls wait, and no try is counted
    └── PullCancelled        nobody wants the image any more, or the program ends

No text of an error holds a password, a token or the user part of a URL.
"""

__all__ = [
    "AuthenticationFailed",
    "ConfigurationError",
    "DiskFull",
    "KubernetesCallFailed",
    "PermanentPullError",
    "PullCancelled",
    "PullFailed",
    "PullerError",
    "RegistryBusy",
    "RuntimeAway",
    "SourceFailed",
    "TransientPullError",
]


class PullerError(Exception):
    """Something that this program tells its operator of in words of its own."""


class ConfigurationError(PullerError):
    """A setting can't be used; the text names it."""


class SourceFailed(PullerError):
    """A source of image names didn't answer, or not in a form that can be read."""


class KubernetesCallFailed(PullerError):
    """The API server refused a call or didn't answer it.

    Parameters
    ----------
    message
        What was asked for and what came back.
    status
        The HTTP status; 0 where there was no answer.
    """

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class PullFailed(PullerError):
    """One try to pull one image didn't bring it."""

    reason = "error"
    """The word for this class in metrics, in `/status` and in logs."""


class PermanentPullError(PullFailed):
    """There is no such image, or it can't be used on this node."""

    reason = "permanent"


class AuthenticationFailed(PullFailed):
    """The registry refused every credential that was tried, anonymous access included."""

    reason = "authentication"


class TransientPullError(PullFailed):
    """The connection broke, or the time for one try was over."""

    reason = "transient"


class RegistryBusy(TransientPullError):
    """The registry can't be reached, has an error of its own or asks for patience.

    Parameters
    ----------
    message
        What the runtime said.
    retry_after
        How many seconds the registry asked to be left alone, where it said so.
    """

    reason = "registry"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DiskFull(PullFailed):
    """The file system that holds the images is full."""

    reason = "disk_full"


class RuntimeAway(PullFailed):
    """The container runtime doesn't answer on its socket."""

    reason = "runtime_away"


class PullCancelled(PullFailed):
    """The pull was stopped from here."""

    reason = "cancelled"

"""Everything that can go wrong and that a client is told of, each with its HTTP status and its public words.

GatewayError                          500
├── BadRequest                        400   the request itself is wrong
├── Unauthenticated                   401   no token, or one that isn't known
├── Forbidden                         403   known, but not allowed
│   ├── LimitReached                  403   too many kernels
│   └── PolicyViolation               403   the administrator doesn't allow this value
├── NotFound                          404
│   ├── KernelNotFound                404
│   ├── KernelspecNotFound            404
│   ├── ExecutionNotFound             404
│   └── SessionNotFound               404
├── Conflict                          409   the name is taken
│   └── KernelExists                  409   another process starts or runs a kernel of this id
├── Gone                              410
├── PayloadTooLarge                   413
├── UnsupportedMediaType              415
├── PortUnreachable                   502   a port of a kernel doesn't answer as it should
├── PortTimeout                       504   a port of a kernel doesn't answer in time
├── NotSupported                      501   valid, but this installation can't do it
├── Unavailable                       503   try again later
│   └── ClusterNotSynced              503   not every kernel of the cluster is known now
├── LaunchFailed                      500   a kernel could not be started; the cause is in the words
│   ├── LaunchRefused                 500   Kubernetes refused an object of the kernel
│   └── LaunchTimeout                 500
└── KubernetesError                   500   a call to Kubernetes failed; it knows kind, namespace and name
    ├── ObjectExists                  500   an object of this name exists
    ├── ObjectNotFound                500   no object of this name exists
    ├── ResourceExpired               500   a watch must begin anew
    └── KubernetesUnavailable         503   no answer, or one that asks to come again

`str(error)` is written for the client: it never holds a secret, a path of the server or a traceback. What only the
operator may know goes into the log, through the cause (`raise … from cause`).
"""

from http import HTTPStatus

__all__ = [
    "BadRequest",
    "ClusterNotSynced",
    "Conflict",
    "ExecutionNotFound",
    "Forbidden",
    "GatewayError",
    "Gone",
    "KernelExists",
    "KernelNotFound",
    "KernelspecNotFound",
    "KubernetesError",
    "KubernetesUnavailable",
    "LaunchFailed",
    "LaunchRefused",
    "LaunchTimeout",
    "LimitReached",
    "NotFound",
    "NotSupported",
    "ObjectExists",
    "ObjectNotFound",
    "PayloadTooLarge",
    "PolicyViolation",
    "PortTimeout",
    "PortUnreachable",
    "ResourceExpired",
    "SessionNotFound",
    "Unauthenticated",
    "Unavailable",
    "UnsupportedMediaType",
]


_LONGEST_SHOWN = 64


def _shown(identifier: str) -> str:
    """Return a client's own text so that it can stand in an answer and in a log."""
    return identifier[:_LONGEST_SHOWN].encode("unicode_escape").decode()


class GatewayError(Exception):
    """Something a client is told of.

    Parameters
    ----------
    message
        One or two sentences for the client: what failed, on which object, why, what to do.
    reason
        The short phrase of the status line; the status' own phrase where none is given.
    """

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    retry_after: float | None = None
    """Seconds after which trying again makes sense; `None` where nothing is known of that."""

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.status.phrase


class BadRequest(GatewayError):
    """The request itself is wrong."""

    status = HTTPStatus.BAD_REQUEST


class Unauthenticated(GatewayError):
    """The request carries no token, or one that isn't known."""

    status = HTTPStatus.UNAUTHORIZED


class Forbidden(GatewayError):
    """The caller is known and not allowed to do this."""

    status = HTTPStatus.FORBIDDEN


class LimitReached(Forbidden):
    """One more kernel would be more than the administrator allows."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="Resource Limit")


class PolicyViolation(Forbidden):
    """The administrator's policy doesn't allow a value that the client asked for."""


class NotFound(GatewayError):
    """There is no such thing here, or it isn't the caller's."""

    status = HTTPStatus.NOT_FOUND


class KernelNotFound(NotFound):
    """No kernel of this id exists for this caller."""

    def __init__(self, kernel_id: str) -> None:
        super().__init__(f"Kernel does not exist: {_shown(kernel_id)}")


class KernelspecNotFound(NotFound):
    """No kernelspec of this name exists."""


class ExecutionNotFound(NotFound):
    """No execution of this id is known."""

    def __init__(self, msg_id: str) -> None:
        super().__init__(f"Execution not found: {_shown(msg_id)}. It never ran here, or newer ones have taken its place.")


class SessionNotFound(NotFound):
    """No session of this id exists."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"Session not found: session_id={_shown(session_id)}")


class Conflict(GatewayError):
    """The name is taken."""

    status = HTTPStatus.CONFLICT


class KernelExists(Conflict):
    """Another process starts or runs a kernel of this id, and was faster."""

    def __init__(self) -> None:
        super().__init__("KERNEL_ID is in use.")


class Gone(GatewayError):
    """It existed and doesn't any more."""

    status = HTTPStatus.GONE


class PayloadTooLarge(GatewayError):
    """The body is larger than the administrator allows."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedMediaType(GatewayError):
    """The body is not JSON by its own declaration."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class NotSupported(GatewayError):
    """The request is valid, and this installation can't do it."""

    status = HTTPStatus.NOT_IMPLEMENTED


class PortUnreachable(GatewayError):
    """What a port of a kernel's pod serves can't be had: nothing is there, or it answers what can't be passed on."""

    status = HTTPStatus.BAD_GATEWAY


class PortTimeout(GatewayError):
    """A port of a kernel's pod doesn't answer in time."""

    status = HTTPStatus.GATEWAY_TIMEOUT


class Unavailable(GatewayError):
    """The gateway can't do this now; trying again later may work."""

    status = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ClusterNotSynced(Unavailable):
    """Not every kernel of the cluster is known now, so that none can be denied and none counted."""


class LaunchFailed(GatewayError):
    """A kernel could not be started; the message says why."""

    def __init__(self, message: str, *, reason: str = "Kernel launch failed") -> None:
        super().__init__(message, reason=reason)


class LaunchRefused(LaunchFailed):
    """Kubernetes, or the operating system, refused what the kernel was to be made of.

    Parameters
    ----------
    code
        HTTP status of the refusal; 0 where it is none of the request's, but the gateway's own, such as a right that it lacks.
    """

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code


class LaunchTimeout(LaunchFailed):
    """A kernel wasn't usable within its launch timeout."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="Kernel launch timeout")


class KubernetesError(GatewayError):
    """A call to Kubernetes failed.

    Parameters
    ----------
    words
        What Kubernetes says itself: the message of its answer, never its headers.
    kind, namespace, name
        The object of the call; the last two are empty where it had none.
    code
        HTTP status of the answer; 0 where there was none.
    cause
        Kubernetes' own word for the kind of failure: Forbidden, AlreadyExists, Invalid, …
    """

    def __init__(self, words: str, *, kind: str, namespace: str = "", name: str = "", code: int = 0, cause: str = "") -> None:
        target = " ".join(filter(None, (kind, "/".join(filter(None, (namespace, name))))))
        super().__init__(f"Kubernetes: {target}: {words}", reason=cause or None)
        self.words = words
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.code = code
        self.cause = cause


class ObjectExists(KubernetesError):
    """An object of this kind and name exists already."""


class ObjectNotFound(KubernetesError):
    """No object of this kind and name exists, or it isn't the one that was meant."""


class ResourceExpired(KubernetesError):
    """What a watch knows is too old to go on from; it must list anew."""


class KubernetesUnavailable(KubernetesError):
    """Kubernetes gave no answer, or one that asks to come again later.

    Parameters
    ----------
    retry_after
        Seconds that the server asks to wait; `None` where it doesn't say.
    """

    status = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(
        self,
        words: str,
        *,
        kind: str,
        namespace: str = "",
        name: str = "",
        code: int = 0,
        cause: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(words, kind=kind, namespace=namespace, name=name, code=code, cause=cause)
        self.retry_after = retry_after

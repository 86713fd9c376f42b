"""Whose mistake it is that a kernel's objects were refused: the client's, where it asked for something of its own."""

from collections.abc import Iterable
from http import HTTPStatus

from enterprise_gateway.errors import BadRequest, Conflict, Forbidden, GatewayError, LaunchRefused, NotFound

__all__ = ["whose_mistake"]

# Every client sends these, and nothing of them can be refused once they have been read: they become labels, annotations and
# variables, in forms that are always valid. The folder is only used where it is mirrored, and is a path by then.
_HARMLESS = frozenset({"KERNEL_USERNAME", "KERNEL_ID", "KERNEL_LAUNCH_TIMEOUT", "KERNEL_WORKING_DIR"})

_AS_CLIENTS_MISTAKE: dict[int, type[GatewayError]] = {
    HTTPStatus.BAD_REQUEST: BadRequest,
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.UNPROCESSABLE_ENTITY: BadRequest,
}


def whose_mistake(error: LaunchRefused, requested: Iterable[str]) -> GatewayError:
    """Return a refusal as what the client is to be told: a 4xx where it chose what is in the objects, else the error as it is.

    Parameters
    ----------
    requested
        Names of the variables that the client sent and that were let through.
    """
    mistake = _AS_CLIENTS_MISTAKE.get(error.code)
    if mistake is None or _HARMLESS.issuperset(requested):
        return error
    return mistake(error.message, reason=error.reason)

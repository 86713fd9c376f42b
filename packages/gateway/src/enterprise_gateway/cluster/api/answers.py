"""What a refusal of the API server means: its own words and the error that carries them, never its headers."""

import json
from collections.abc import Mapping

from enterprise_gateway.errors import KubernetesError, KubernetesUnavailable, ObjectExists, ObjectNotFound, ResourceExpired

__all__ = ["error_of", "retry_after_of"]

_NOT_FOUND, _CONFLICT, _GONE, _TOO_MANY = 404, 409, 410, 429
_FIRST_SERVER_ERROR = 500
_LONGEST_WORDS = 1000
_LONGEST_WAIT = 60.0


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that an answer asks to wait; `None` where it doesn't say in seconds."""
    text = headers.get("Retry-After", "")
    return min(float(text), _LONGEST_WAIT) if text.isascii() and text.isdigit() else None


def error_of(*, status: int, body: bytes, retry_after: float | None, kind: str, namespace: str, name: str) -> KubernetesError:
    """Return the error for an answer that isn't a success."""
    try:
        answer = json.loads(body)
        words, cause = str(answer["message"])[:_LONGEST_WORDS], str(answer.get("reason") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        # Whatever stands between may answer with a page of HTML.
        words, cause = f"the API server answered {status}", ""
    if status == _TOO_MANY or status >= _FIRST_SERVER_ERROR:
        return KubernetesUnavailable(
            words, kind=kind, namespace=namespace, name=name, code=status, cause=cause, retry_after=retry_after
        )
    leaf = {_NOT_FOUND: ObjectNotFound, _CONFLICT: ObjectExists, _GONE: ResourceExpired}.get(status, KubernetesError)
    return leaf(words, kind=kind, namespace=namespace, name=name, code=status, cause=cause)

"""Ids of requests as keys: a client chooses them, so their length is bounded here."""

import hashlib

__all__ = ["bounded_id"]

_LONGEST = 128


def bounded_id(request_id: str) -> str:
    """Return an id that is as unique as the given one and at most 128 characters long."""
    if len(request_id) <= _LONGEST:
        return request_id
    return hashlib.sha256(request_id.encode("utf-8", "surrogatepass")).hexdigest()

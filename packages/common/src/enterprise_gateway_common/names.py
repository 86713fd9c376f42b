"""Names of cluster objects: always valid, never longer than 63 characters, never the same for two different texts.

A name is a readable part, made of what a person wrote, and a part that is unique by itself: a kernel's id, or a hash of
the whole text. Readability may be lost (a name in a script other than Latin has no readable part), uniqueness may not.
"""

import hashlib
import re

__all__ = ["MAXIMUM_LENGTH", "kernel_object_name", "slug", "unique_slug"]

MAXIMUM_LENGTH = 63

_OTHER_CHARACTERS = re.compile(r"[^0-9a-z]+")
_PLAIN_ID = re.compile(r"[0-9a-z](?:[0-9a-z-]{0,34}[0-9a-z])?")
_HASH_LENGTH = 8


def slug(text: str, *, limit: int = MAXIMUM_LENGTH) -> str:
    """Return the readable part of a text: lower case, digits and single hyphens, empty where nothing readable is left."""
    return _OTHER_CHARACTERS.sub("-", text.lower()).strip("-")[:limit].rstrip("-")


def unique_slug(text: str, *, limit: int = MAXIMUM_LENGTH) -> str:
    """Return a name that only this text has: the text itself where it is one, else its slug and a hash."""
    # The hash form is hashed again when somebody writes it by hand, so that nobody can ask for another's name.
    readable = slug(text, limit=limit)
    if text and readable == text and not re.search(rf"-[0-9a-f]{{{_HASH_LENGTH}}}$", text):
        return text
    return _joined(readable, _hash(text), limit=limit)


def kernel_object_name(username: str, kernel_id: str, *, limit: int = MAXIMUM_LENGTH) -> str:
    """Return the name of a kernel's objects, `<username>-<kernel id>`: unique because the kernel's id is in it."""
    unique = kernel_id if _PLAIN_ID.fullmatch(kernel_id) else _hash(kernel_id)
    return _joined(slug(username) or "kernel", unique, limit=limit)


def _joined(readable: str, unique: str, *, limit: int) -> str:
    room = limit - len(unique) - 1
    head = readable[:room].rstrip("-") if room > 0 else ""
    return f"{head}-{unique}" if head else unique[:limit]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]

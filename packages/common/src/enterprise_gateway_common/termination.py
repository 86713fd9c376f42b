"""The termination message of a kernel's container, where `launch-kernel` wrote it: the cause, then the kernel's last words.

Kubernetes shows it to people as it is (`kubectl describe pod`), so it is a text that reads well.
"""

from typing import Optional, Tuple

__all__ = ["OUT_OF_MEMORY", "split_termination_message", "termination_message"]

OUT_OF_MEMORY = "ran out of memory: OOMKilled"
"""What every cause has in it that is about memory; the second half is Kubernetes' own word for it."""

_PREFIX = "launch-kernel: The kernel "
"""A launch that was refused has another: there was no kernel."""


def termination_message(cause: str, last_words: str, *, longest: int) -> bytes:
    """Return the message, of some bytes at most: the whole cause, and the end of the last words.

    Parameters
    ----------
    cause
        A sentence that begins with "The kernel ".
    """
    first = f"launch-kernel: {cause}".encode("utf-8", "replace")[:longest]
    rest = last_words.strip().encode("utf-8", "replace")
    room = longest - len(first) - 1
    return first + b"\n" + rest[-room:] if rest and room > 0 else first


def split_termination_message(message: str) -> Tuple[Optional[str], str]:
    """Return the cause and the last words; the cause is `None` where another program wrote the message."""
    if not message.startswith(_PREFIX):
        return None, message
    first, _, rest = message.partition("\n")
    return first.partition(": ")[2], rest

"""What a token must look like before it goes into a header."""

__all__ = ["is_one_printable_word"]


def is_one_printable_word(token: str) -> bool:
    """Tell whether a token is one line of printable ASCII without blanks.

    Whatever else is in it, a client library refuses the header, and its error shows the whole token.
    """
    return bool(token) and token.isascii() and token.isprintable() and " " not in token

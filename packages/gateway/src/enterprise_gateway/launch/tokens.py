"""Opaque words that stand for values while a template's text is YAML.

A template prints a token where it would print a value; once the text has been parsed, each token in the tree is
replaced by its value. So a value is never parsed: whatever it holds, it can only become the leaf where the template
printed it, or a part of that leaf.
"""

import re
import secrets
from collections.abc import Mapping
from typing import Any

from enterprise_gateway.launch.documents import QuotedText

__all__ = ["TokenError", "TokenTable"]


class TokenError(ValueError):
    """A template uses a printed value where only a text can stand; the reason is fit for the template's author."""


# Random, so that nobody can write a token into a value; the same for all renderings of this process, so that the same template
# makes the same text. In lower case letters and digits, so that YAML reads a token as a plain text wherever it stands.
_PREFIX = f"tk{secrets.token_hex(8)}n"
_TOKEN = re.compile(rf"{_PREFIX}([0-9]+)e", re.IGNORECASE)


class TokenTable:
    """The tokens of one rendering, numbered as they are issued; they stand for nothing in another one."""

    def __init__(self) -> None:
        self._values: list[Any] = []

    def issue(self, value: Any) -> str:  # noqa: ANN401  a template prints anything
        """Return the token that stands for a value."""
        self._values.append(value)
        return f"{_PREFIX}{len(self._values) - 1}e"

    def replace(self, tree: Any) -> Any:  # noqa: ANN401  any part of a document
        """Return a parsed document with every token replaced by its value.

        Raises
        ------
        TokenError
            A value with parts of its own was printed inside of a text, or two keys of a mapping became the same.
        """
        return self._replace(tree, ())

    def _replace(self, tree: Any, path: tuple[str, ...]) -> Any:  # noqa: ANN401  as above
        if isinstance(tree, Mapping):
            replaced = {str(self._leaf(QuotedText(key), ())): self._replace(value, (*path, key)) for key, value in tree.items()}
            if len(replaced) < len(tree):
                raise TokenError("two keys of a mapping became the same")
            return replaced
        if isinstance(tree, list):
            return [self._replace(value, (*path, "[]")) for value in tree]
        return self._leaf(tree, path) if isinstance(tree, str) else tree

    def _leaf(self, text: str, path: tuple[str, ...]) -> Any:  # noqa: ANN401  a printed value keeps its type
        escape = _is_expanded(path)
        whole = _TOKEN.fullmatch(text)
        if whole and not isinstance(text, QuotedText):
            value = self._value(whole)
            return self._inner(value, escape=escape) if isinstance(value, str) else value
        return self._inner(str(text), escape=False, escape_values=escape)

    def _inner(self, text: str, *, escape: bool, escape_values: bool = False) -> str:
        def text_of(match: re.Match[str]) -> str:
            value = self._value(match)
            if isinstance(value, (Mapping, list, tuple)):
                raise TokenError("a list or mapping is printed inside of a text")
            inner = self._inner(_as_text(value), escape=False)
            return inner.replace("$", "$$") if escape_values else inner

        replaced = _TOKEN.sub(text_of, text)
        return replaced.replace("$", "$$") if escape else replaced

    def _value(self, match: re.Match[str]) -> Any:  # noqa: ANN401  as above
        if match.group(0) != match.group(0).lower():
            raise TokenError("a printed value is changed afterwards; apply the filter to the value itself")
        index = int(match.group(1))
        if index >= len(self._values):
            raise TokenError("a printed value is changed afterwards; apply the filter to the value itself")
        return self._values[index]


def _as_text(value: Any) -> str:  # noqa: ANN401  as above
    # As YAML and Kubernetes write them, not as Python does.
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_expanded(path: tuple[str, ...]) -> bool:
    """Tell whether the kubelet expands `$(NAME)` in this leaf: a value that reaches it must come out as it went in."""
    match path:
        case (*_, "containers" | "initContainers", "[]", "env", "[]", "value"):
            return True
        case (*_, "containers" | "initContainers", "[]", "command" | "args", "[]"):
            return True
    return False

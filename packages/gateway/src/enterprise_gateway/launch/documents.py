"""YAML that somebody else wrote, read within bounds: no aliases, no tags of Python, no deep or endless trees."""

from collections.abc import Iterator
from typing import Any

import yaml

__all__ = ["DocumentError", "QuotedText", "read_document", "read_documents"]

_MAXIMUM_CHARACTERS = 1024 * 1024
_MAXIMUM_DEPTH = 32
_MAXIMUM_NODES = 20_000


class DocumentError(ValueError):
    """A text isn't YAML that is accepted; the reason is fit for whoever wrote the text."""


class QuotedText(str):
    """A text that stood in quotes or in a block: it is a text whatever it looks like."""

    __slots__ = ()


# libyaml's parser where PyYAML was built with it, which all of its wheels are: reading a pod's template with the other
# one took a third of a start's processor time.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _PlainLoader(_Loader):  # type: ignore[misc,valid-type]  # one of two classes with the same interface
    """Builds only plain data."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  PyYAML's signature
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if not all(isinstance(key, str) for key in keys):
            raise DocumentError("a key of a mapping is not a text")
        if len(set(keys)) < len(keys):
            raise DocumentError("a mapping has the same key twice")
        built: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return built

    def construct_yaml_text(self, node: yaml.ScalarNode) -> str:
        """Return a text, marked when it was quoted."""
        text = str(self.construct_scalar(node))
        return QuotedText(text) if node.style else text

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Leave `<<` alone: it is a key as any other."""


_PlainLoader.add_constructor("tag:yaml.org,2002:str", _PlainLoader.construct_yaml_text)

# A date is a text to everybody but YAML 1.1, and Kubernetes takes texts.
_PlainLoader.yaml_implicit_resolvers = {
    first: [
        (tag, expression)
        for tag, expression in resolvers
        if tag not in {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge"}
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_documents(text: str) -> list[Any]:
    """Return the documents of a text; empty ones are left out.

    Raises
    ------
    DocumentError
        The text isn't YAML, or passes a bound.
    """
    return [document for document in _documents(text) if document is not None]


def read_document(text: str) -> Any:  # noqa: ANN401  it can be anything
    """Return the only document of a text; `None` for an empty text.

    Raises
    ------
    DocumentError
        As `read_documents`, or there are several.
    """
    documents = read_documents(text)
    if len(documents) > 1:
        raise DocumentError("it has several documents")
    return documents[0] if documents else None


def _documents(text: str) -> Iterator[Any]:
    if len(text) > _MAXIMUM_CHARACTERS:
        raise DocumentError(f"it has more than {_MAXIMUM_CHARACTERS} characters")
    try:
        _check_bounds(text)
        loader = _PlainLoader(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise DocumentError(_words(error)) from error
    try:
        while loader.check_data():
            yield loader.get_data()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, DocumentError):
            raise
        raise DocumentError(_words(error)) from error
    finally:
        loader.dispose()


def _check_bounds(text: str) -> None:
    """Read a text's events before anything is built of them, and stop at the first that passes a bound."""
    depth = nodes = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise DocumentError("it uses an alias (*name), which isn't accepted")
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if not isinstance(event, yaml.NodeEvent):
            continue
        nodes += 1
        # A value in a collection is one level below it, whether or not it holds others.
        if depth + 1 > _MAXIMUM_DEPTH:
            raise DocumentError(f"it is nested deeper than {_MAXIMUM_DEPTH} levels")
        if nodes > _MAXIMUM_NODES:
            raise DocumentError(f"it has more than {_MAXIMUM_NODES} values")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1


def _words(error: Exception) -> str:
    # PyYAML's own text quotes the lines around the place, which may hold anything.
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {error.problem}"
    return "it is not YAML"

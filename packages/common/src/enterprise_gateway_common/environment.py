"""One declaration per setting: its name, its environment names, its type, its default and its text.

A component declares its settings as the fields of a frozen dataclass, each made by `setting`. From that one
declaration come the values (`read_environment`), the command line's options and the page of the documentation, so
that the three can't disagree.

An environment name that was renamed stays readable: `environment` lists the names newest first, and every later
one is an older name that works and is reported once as such.
"""

import dataclasses
import difflib
import re
from typing import Any, Callable, Dict, FrozenSet, Generic, List, Mapping, NamedTuple, Optional, Tuple, Type, TypeVar

__all__ = [
    "EnvironmentValues",
    "Kind",
    "SettingDeclaration",
    "SettingError",
    "boolean",
    "choice",
    "declarations",
    "integer",
    "names",
    "number",
    "optional",
    "ordered_names",
    "parse",
    "read_environment",
    "setting",
    "text",
    "unknown_names",
]

T = TypeVar("T")

_METADATA_KEY = "enterprise_gateway_common.setting"
_TRUE_WORDS = frozenset({"true", "1", "yes", "on"})
_FALSE_WORDS = frozenset({"false", "0", "no", "off", ""})


class SettingError(ValueError):
    """A setting's value can't be used; the text is one line that names the setting and never shows a secret."""


class Kind(Generic[T]):
    """How the text of an environment variable becomes a value.

    Parameters
    ----------
    description
        What a person may write, as it stands in the documentation: "true or false", "whole number".
    parse
        Makes the value; raises `ValueError` with the reason where the text isn't one.
    """

    def __init__(self, description: str, parse: Callable[[str], T]) -> None:
        self.description = description
        self.parse = parse


@dataclasses.dataclass(frozen=True)
class SettingDeclaration:
    """Everything that is known of one setting."""

    name: str
    default: Any
    kind: "Kind[Any]"
    environment: Tuple[str, ...]
    """Environment names, newest first; all but the first are older names."""
    help: str
    group: str
    secret: bool


class EnvironmentValues(NamedTuple):
    """What an environment says of a set of settings."""

    values: Dict[str, Any]
    """Setting name to value; a setting that the environment doesn't name is absent."""
    warnings: List[str]
    """One line for each older name that was used."""


def setting(
    default: T,
    kind: "Kind[T]",
    *,
    environment: Tuple[str, ...],
    help: str,  # noqa: A002  the word that argparse and traitlets use for the same text
    group: str,
    secret: bool = False,
) -> T:
    """Declare one setting as a field of a frozen dataclass."""
    declaration = SettingDeclaration("", default, kind, environment, " ".join(help.split()), group, secret)
    return dataclasses.field(default=default, metadata={_METADATA_KEY: declaration})


def declarations(settings_class: Type[Any]) -> List[SettingDeclaration]:
    """Return the declarations of a settings dataclass in the order in which they stand there."""
    return [
        dataclasses.replace(field.metadata[_METADATA_KEY], name=field.name)
        for field in dataclasses.fields(settings_class)
        if _METADATA_KEY in field.metadata
    ]


def read_environment(settings_class: Type[Any], environment: Mapping[str, str]) -> EnvironmentValues:
    """Return the values that an environment gives, newest name first.

    Raises
    ------
    SettingError
        A value can't be parsed.
    """
    values: Dict[str, Any] = {}
    warnings: List[str] = []
    for declaration in declarations(settings_class):
        present = [name for name in declaration.environment if name in environment]
        if not present:
            continue
        used = present[0]
        values[declaration.name] = parse(declaration, environment[used], source=used)
        if used != declaration.environment[0]:
            warnings.append(f"{used} is an older name of {declaration.environment[0]} and still works; use the newer one.")
    return EnvironmentValues(values, warnings)


# What Kubernetes puts into a pod's environment for a Service whose name begins as the prefix does.
_OF_A_SERVICE = re.compile(r"\w+_(SERVICE_(HOST|PORT\w*)|PORT_\d+_(TCP|UDP|SCTP)\w*)")
_ALIKE = 0.8


def unknown_names(
    settings_class: Type[Any], environment: Mapping[str, str], *, prefix: str, others: "FrozenSet[str]" = frozenset()
) -> List[str]:
    """Return one line for each variable with the prefix that no setting reads, with the name that it looks like.

    Parameters
    ----------
    others
        Names with the prefix that are read elsewhere.
    """
    known = {name for declaration in declarations(settings_class) for name in declaration.environment} | others
    found = []
    for name in sorted(environment):
        if not name.startswith(prefix) or name in known or _OF_A_SERVICE.fullmatch(name):
            continue
        near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=_ALIKE)
        found.append(f"{name} is no setting and has no effect" + (f"; did you mean {near[0]}?" if near else "."))
    return found


def parse(declaration: SettingDeclaration, raw: str, *, source: str) -> Any:  # noqa: ANN401  each setting has its own type
    """Return the value that a text means for a setting.

    Raises
    ------
    SettingError
        The text isn't of the setting's kind; `source` says where it was written.
    """
    try:
        return declaration.kind.parse(raw.strip())
    except ValueError as error:
        if declaration.secret:
            # Neither the value nor the reason, which may quote it, nor the cause.
            hidden = f"{source} ({declaration.name}): its value is not {declaration.kind.description}"
            raise SettingError(hidden) from None
        message = f"{source} ({declaration.name}): {raw!r} is not {declaration.kind.description}: {error}"
        raise SettingError(message) from error


# ------------------------------------------------------------------------------------------------------------ kinds


def _parse_boolean(raw: str) -> bool:
    lowered = raw.lower()
    if lowered in _TRUE_WORDS:
        return True
    if lowered in _FALSE_WORDS:
        return False
    message = "write true or false"
    raise ValueError(message)


boolean: "Kind[bool]" = Kind("true or false", _parse_boolean)
text: "Kind[str]" = Kind("text", str)


def _within(value: float, minimum: Optional[float], maximum: Optional[float]) -> None:
    # One chained comparison, so that NaN, for which every comparison is false, is refused too.
    lower = float("-inf") if minimum is None else minimum
    upper = float("inf") if maximum is None else maximum
    if not lower <= value <= upper:
        at_least = "" if minimum is None else f"at least {minimum}"
        at_most = "" if maximum is None else f"at most {maximum}"
        raise ValueError("it must be " + (" and ".join(filter(None, (at_least, at_most))) or "a number"))


def integer(minimum: Optional[int] = None, maximum: Optional[int] = None) -> "Kind[int]":
    """Return the kind of a whole number within inclusive bounds."""

    def parse_integer(raw: str) -> int:
        if not (raw.isascii() and raw.lstrip("+-").isdigit()):
            message = "write it in the digits 0 to 9"
            raise ValueError(message)
        value = int(raw)
        _within(value, minimum, maximum)
        return value

    return Kind("a whole number", parse_integer)


def number(minimum: Optional[float] = None, maximum: Optional[float] = None) -> "Kind[float]":
    """Return the kind of a number within inclusive bounds; infinity and NaN are no numbers here."""

    def parse_number(raw: str) -> float:
        try:
            value = float(raw)
        except ValueError:
            message = "write it in digits"
            raise ValueError(message) from None
        if value in (float("inf"), float("-inf")):
            message = "it must be finite"
            raise ValueError(message)
        _within(value, minimum, maximum)
        return value

    return Kind("a number", parse_number)


def choice(*words: str) -> "Kind[str]":
    """Return the kind of a text that is one of a few words, compared without case."""
    by_lower = {word.lower(): word for word in words}
    shown = ", ".join(word for word in words if word)

    def parse_choice(raw: str) -> str:
        try:
            return by_lower[raw.lower()]
        except KeyError:
            message = f"write one of {shown}"
            raise ValueError(message) from None

    return Kind(f"one of {shown}", parse_choice)


def optional(kind: "Kind[T]") -> "Kind[Optional[T]]":
    """Return the kind that also takes nothing at all: an empty text means that the setting isn't set."""

    def parse_optional(raw: str) -> Optional[T]:
        return kind.parse(raw) if raw else None

    return Kind(kind.description + ", or nothing", parse_optional)


def _split(raw: str) -> List[str]:
    # Older deployments write a Python list (['a','b']) or quote each name; both forms reach us through their charts.
    stripped = (part.strip().strip("\"'").strip() for part in raw.strip().strip("[](){}").split(","))
    return [part for part in stripped if part]


def _parse_names(raw: str) -> FrozenSet[str]:
    return frozenset(_split(raw))


def _parse_ordered_names(raw: str) -> Tuple[str, ...]:
    return tuple(_split(raw))


names: "Kind[FrozenSet[str]]" = Kind("names separated by commas", _parse_names)
ordered_names: "Kind[Tuple[str, ...]]" = Kind("names separated by commas, in order", _parse_ordered_names)

"""The KERNEL_* variables that are understood, read and typed by one set of rules, whoever set them.

Nothing here decides whether a value is allowed; that is the policy's. Whatever can't be read is refused here, so that no
later step meets a text where it needs a number or a list.
"""

import dataclasses
import json
import re
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from enterprise_gateway.errors import PolicyViolation
from enterprise_gateway.launch.documents import DocumentError, read_document
from enterprise_gateway.launch.quantity import InvalidQuantity, quantity
from enterprise_gateway_common.image_reference import InvalidImageReference, parse_image_reference

__all__ = [
    "DEFAULT_GID",
    "DEFAULT_UID",
    "DOCUMENT_VARIABLES",
    "PREFIX",
    "InvalidVariable",
    "KernelVariables",
    "Resources",
    "check_ids",
    "read_kernel_id",
    "read_variables",
]

PREFIX = "KERNEL_"
DEFAULT_UID, DEFAULT_GID = 1000, 100
DOCUMENT_VARIABLES = frozenset({"KERNEL_VOLUMES", "KERNEL_VOLUME_MOUNTS"})
"""Their values are YAML, which people write in several lines."""

_ID_VARIABLES = frozenset({"KERNEL_UID", "KERNEL_GID"})
_DNS_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_LINE_END = re.compile(r"[\r\n]")
_LARGEST_ID = 2**32 - 1
_LONGEST_USER_NAME = 256
_RANDOM_UUID_VERSION = 4


class InvalidVariable(ValueError):
    """A variable can't be read; the text names it and never quotes more of its value than is harmless.

    Parameters
    ----------
    variable
        Its name.
    """

    def __init__(self, words: str, *, variable: str) -> None:
        super().__init__(words)
        self.variable = variable

    @property
    def about_ids(self) -> bool:
        """Whether it is a user's or group's id, which Enterprise Gateway answers with 403 and not with 400."""
        return self.variable in _ID_VARIABLES


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Amounts as they were written; each can be read as a quantity."""

    cpus: str | None = None
    cpus_limit: str | None = None
    memory: str | None = None
    memory_limit: str | None = None
    gpus: str | None = None
    gpus_limit: str | None = None


_RESOURCE_NAMES = tuple(each.name for each in dataclasses.fields(Resources))


@dataclass(frozen=True, kw_only=True)
class KernelVariables:
    """What one party says of a start, typed; `None` where it says nothing."""

    username: str | None = None
    kernel_id: str | None = None
    launch_seconds: float | None = None
    uid: int | None = None
    gid: int | None = None
    image: str | None = None
    executor_image: str | None = None
    namespace: str | None = None
    service_account: str | None = None
    pod_name_pattern: str | None = None
    working_dir: str | None = None
    """As it was written: it is read where kernels start in it."""
    resources: Resources = field(default_factory=Resources)
    volumes: tuple[Mapping[str, Any], ...] | None = None
    volume_mounts: tuple[Mapping[str, Any], ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    """All of the party's variables as the kernel finds them, those that mean nothing here too."""

    def over(self, other: "KernelVariables") -> "KernelVariables":
        """Return what holds where this party's word counts before another's."""
        merged = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        for name, value in merged.items():
            if value is None:
                merged[name] = getattr(other, name)
        amounts = {name: getattr(self.resources, name) or getattr(other.resources, name) for name in _RESOURCE_NAMES}
        merged["resources"] = Resources(**amounts)
        merged["environment"] = {**other.environment, **self.environment}
        return KernelVariables(**merged)


def read_variables(environment: Mapping[str, str]) -> KernelVariables:
    """Return what one party says by its variables. A variable that is understood and blank is one that isn't set.

    Raises
    ------
    InvalidVariable
        One can't be read.
    """
    present = {name: value for name, value in environment.items() if value.strip() or name not in _UNDERSTOOD}
    typed: dict[str, Any] = {}
    for name, (field_name, read) in _READERS.items():
        if name in present:
            typed[field_name] = read(name, present[name])
    amounts = {name: _amount(_variable(name), present[_variable(name)]) for name in _RESOURCE_NAMES if _variable(name) in present}
    return KernelVariables(**typed, resources=Resources(**amounts), environment=_as_kernels_find_them(present, typed))


def check_ids(variables: KernelVariables, *, uids: Collection[int], gids: Collection[int]) -> None:
    """Return when neither id is among the prohibited ones.

    Raises
    ------
    PolicyViolation
        One is.
    """
    for name, value, prohibited in (("KERNEL_UID", variables.uid, uids), ("KERNEL_GID", variables.gid, gids)):
        if value is not None and value in prohibited:
            raise PolicyViolation(f"Kernels may not run with {name} {value}; ask the administrator which ids are allowed.")


def _as_kernels_find_them(present: Mapping[str, str], typed: Mapping[str, Any]) -> dict[str, str]:
    found = dict(present)
    for name, field_name in (("KERNEL_UID", "uid"), ("KERNEL_GID", "gid")):
        if name in found:
            found[name] = str(typed[field_name])
    for name in DOCUMENT_VARIABLES & present.keys():
        # Shells, templates and logs of other people read a kernel's environment: no line end gets there from here.
        if _LINE_END.search(present[name]):
            found[name] = json.dumps(typed[_READERS[name][0]], ensure_ascii=False)
    return found


def _variable(resource: str) -> str:
    return f"{PREFIX}{resource.upper()}"


# -------------------------------------------------------------------------------------------------------------- readers


def read_kernel_id(variable: str, text: str) -> str:
    """Return a kernel's id in its usual form.

    Raises
    ------
    InvalidVariable
        It is no UUID of version 4.
    """
    try:
        chosen = uuid.UUID(text)
    except ValueError:
        chosen = None
    # uuid.UUID also takes braces, a urn: prefix and no hyphens at all: other programs would not find such a kernel.
    if chosen is None or chosen.version != _RANDOM_UUID_VERSION or str(chosen) != text.lower():
        raise InvalidVariable(
            "KERNEL_ID must be a UUID of version 4, as in 01234567-89ab-4cde-8f01-23456789abcd.", variable=variable
        )
    return str(chosen)


def _username(variable: str, text: str) -> str:
    if not text.isprintable() or len(text) > _LONGEST_USER_NAME:
        raise InvalidVariable(
            f"KERNEL_USERNAME must be a name of 1 to {_LONGEST_USER_NAME} characters that can be shown.", variable=variable
        )
    return text


def _seconds(variable: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise InvalidVariable("KERNEL_LAUNCH_TIMEOUT must be a positive number of seconds.", variable=variable)
    return seconds


def _id(variable: str, text: str) -> int:
    # Digits only: int() would also take "+0", " 0", "0_0" and the digits of every other script.
    if not (text.isascii() and text.isdigit()) or int(text[:20]) > _LARGEST_ID:
        raise InvalidVariable(f"{variable} must be a whole number from 0 to {_LARGEST_ID}.", variable=variable)
    return int(text)


def _image(variable: str, text: str) -> str:
    try:
        parse_image_reference(text)
    except InvalidImageReference as error:
        raise InvalidVariable(f"{variable} is not a valid image reference: {error}", variable=variable) from error
    return text


def _name_in(grammar: re.Pattern[str], variable: str, text: str) -> str:
    if not grammar.fullmatch(text):
        raise InvalidVariable(
            f"{variable} must be a name as Kubernetes takes it: lower-case letters, digits and hyphens.", variable=variable
        )
    return text


def _amount(variable: str, text: str) -> str:
    written = text.strip()
    try:
        amount = quantity(written)
    except InvalidQuantity as error:
        raise InvalidVariable(f"{variable} is not an amount: {error}.", variable=variable) from error
    if variable.startswith("KERNEL_GPUS") and amount != int(amount):
        raise InvalidVariable(f"{variable} must be a whole number of devices.", variable=variable)
    return written


def _mappings(variable: str, text: str) -> tuple[Mapping[str, Any], ...]:
    try:
        value = read_document(text)
        json.dumps(value)
    except (DocumentError, TypeError) as error:
        words = str(error) if isinstance(error, DocumentError) else "it holds what JSON can't"
        raise InvalidVariable(f"{variable} can't be read: {words}.", variable=variable) from error
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidVariable(f"{variable} must be a list of mappings, in YAML or JSON.", variable=variable)
    return tuple(value)


def _as_written(_variable: str, text: str) -> str:
    return text


_READERS = {
    "KERNEL_USERNAME": ("username", _username),
    "KERNEL_ID": ("kernel_id", read_kernel_id),
    "KERNEL_LAUNCH_TIMEOUT": ("launch_seconds", _seconds),
    "KERNEL_UID": ("uid", _id),
    "KERNEL_GID": ("gid", _id),
    "KERNEL_IMAGE": ("image", _image),
    "KERNEL_EXECUTOR_IMAGE": ("executor_image", _image),
    "KERNEL_NAMESPACE": ("namespace", lambda variable, text: _name_in(_DNS_LABEL, variable, text)),
    "KERNEL_SERVICE_ACCOUNT_NAME": ("service_account", lambda variable, text: _name_in(_DNS_SUBDOMAIN, variable, text)),
    "KERNEL_POD_NAME": ("pod_name_pattern", _as_written),
    "KERNEL_WORKING_DIR": ("working_dir", _as_written),
    "KERNEL_VOLUMES": ("volumes", _mappings),
    "KERNEL_VOLUME_MOUNTS": ("volume_mounts", _mappings),
}
_UNDERSTOOD = frozenset({*_READERS, *map(_variable, _RESOURCE_NAMES)})

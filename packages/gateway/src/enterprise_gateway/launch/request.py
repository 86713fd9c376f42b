"""What one start asks for: the variables of a client and of the kernelspec, read once and typed.

Nothing here decides whether it is allowed; that is the policy's. Whatever can't be read is refused here, so that no
later step meets a text where it needs a number or a list.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from enterprise_gateway.errors import BadRequest, Forbidden, LaunchFailed
from enterprise_gateway.launch.documents import DocumentError, read_document
from enterprise_gateway.launch.quantity import InvalidQuantity, quantity
from enterprise_gateway_common.image_reference import InvalidImageReference, parse_image_reference

__all__ = ["KernelFacts", "LaunchRequest", "Resources", "launch_seconds", "parse_request"]

_DNS_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_KERNEL_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
_LARGEST_ID = 2**32 - 1
_DEFAULT_UID, _DEFAULT_GID = 1000, 100
_MAXIMUM_USERNAME = 1024


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Amounts as they were written; each can be read as a quantity."""

    cpus: str | None = None
    cpus_limit: str | None = None
    memory: str | None = None
    memory_limit: str | None = None
    gpus: str | None = None
    gpus_limit: str | None = None


@dataclass(frozen=True, kw_only=True)
class KernelFacts:
    """What the gateway knows of a kernel before it reads anything of the request."""

    kernel_id: str
    kernel_name: str
    username: str
    language: str
    default_image: str | None
    """The kernelspec's image, or the gateway's for kernelspecs that name none."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    """Labels of the nodes that the kernelspec's kernels go to, where its template names none."""
    image_pull_policy: str | None = None
    """When the kernelspec's image is pulled anew, where its template doesn't say."""


@dataclass(frozen=True, kw_only=True)
class LaunchRequest:
    """One start, readable and typed; not yet allowed."""

    kernel: KernelFacts
    image: str
    image_from_client: bool
    uid: int
    gid: int
    namespace: str | None
    """The namespace that the client names; `None` where it leaves the choice to the gateway."""
    service_account: str | None
    pod_name_pattern: str | None
    working_dir: str | None
    resources: Resources
    volumes: tuple[Mapping[str, Any], ...] = ()
    volume_mounts: tuple[Mapping[str, Any], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    """Everything that the kernel finds in its environment."""

    def template_variables(self) -> dict[str, Any]:
        """Return what a template can print: each KERNEL_* in lower case, those that are understood with their type."""
        variables: dict[str, Any] = {
            name.lower(): value for name, value in self.environment.items() if name.startswith("KERNEL_")
        }
        typed = {
            "kernel_id": self.kernel.kernel_id,
            "kernel_name": self.kernel.kernel_name,
            "kernel_username": self.kernel.username,
            "kernel_language": self.kernel.language,
            "kernel_image": self.image,
            "kernel_uid": self.uid,
            "kernel_gid": self.gid,
            "kernel_working_dir": self.working_dir,
            "kernel_volumes": [dict(volume) for volume in self.volumes] or None,
            "kernel_volume_mounts": [dict(mount) for mount in self.volume_mounts] or None,
            **{f"kernel_{name}": getattr(self.resources, name) for name in Resources.__dataclass_fields__},
        }
        for name, value in typed.items():
            # A template asks `is defined`: what nobody asked for must not be there, not even as nothing.
            if value is None:
                variables.pop(name, None)
            else:
                variables[name] = value
        return variables


def parse_request(*, kernel: KernelFacts, environment: Mapping[str, str], mirror_working_dirs: bool = False) -> LaunchRequest:
    """Return what a start asks for.

    Raises
    ------
    BadRequest
        A variable can't be read; the text names it and never quotes more of its value than is harmless.
    Forbidden
        A user or group id is no id.
    LaunchFailed
        Neither the request nor the kernelspec nor the gateway names an image.
    """
    if not _KERNEL_ID.fullmatch(kernel.kernel_id):
        raise BadRequest("KERNEL_ID must be up to 63 letters, digits, hyphens, dots and underscores.")
    if not kernel.username or len(kernel.username) > _MAXIMUM_USERNAME or _CONTROL_CHARACTER.search(kernel.username):
        raise BadRequest(f"KERNEL_USERNAME must be 1 to {_MAXIMUM_USERNAME} printable characters.")
    own_image = environment.get("KERNEL_IMAGE") or None
    working_dir = environment.get("KERNEL_WORKING_DIR") if mirror_working_dirs else None
    return LaunchRequest(
        kernel=kernel,
        image=_image(own_image or kernel.default_image),
        image_from_client=own_image is not None and own_image != kernel.default_image,
        uid=_id("KERNEL_UID", environment, _DEFAULT_UID),
        gid=_id("KERNEL_GID", environment, _DEFAULT_GID),
        namespace=_name("KERNEL_NAMESPACE", environment, _DNS_LABEL),
        service_account=_name("KERNEL_SERVICE_ACCOUNT_NAME", environment, _DNS_SUBDOMAIN),
        pod_name_pattern=environment.get("KERNEL_POD_NAME") or None,
        working_dir=_working_dir(working_dir),
        resources=_resources(environment),
        volumes=_mappings("KERNEL_VOLUMES", environment),
        volume_mounts=_mappings("KERNEL_VOLUME_MOUNTS", environment),
        environment={name: value for name, value in environment.items() if mirror_working_dirs or name != "KERNEL_WORKING_DIR"},
    )


def _image(text: str | None) -> str:
    if not text:
        raise LaunchFailed(
            "No kernel image could be determined: set `image_name` in the kernelspec's config stanza, EG_KERNEL_IMAGE for the "
            "gateway, or KERNEL_IMAGE in the request."
        )
    try:
        parse_image_reference(text)
    except InvalidImageReference as error:
        raise BadRequest(f"The kernel's image is not a valid image reference: {error}") from error
    return text


def _id(name: str, environment: Mapping[str, str], default: int) -> int:
    value = environment.get(name, "")
    if not value:
        return default
    # Digits only: int() would also take "+0", " 0", "0_0" and the digits of every other script.
    if not (value.isascii() and value.isdigit()) or int(value[:20]) > _LARGEST_ID:
        raise Forbidden(f"{name} must be a whole number from 0 to {_LARGEST_ID}.")
    return int(value)


def _name(variable: str, environment: Mapping[str, str], grammar: re.Pattern[str]) -> str | None:
    value = environment.get(variable, "")
    if value and not grammar.fullmatch(value):
        raise BadRequest(f"{variable} must be a name as Kubernetes takes it: lower-case letters, digits and hyphens.")
    return value or None


def _working_dir(value: str | None) -> str | None:
    if not value:
        return None
    if not value.startswith("/") or _CONTROL_CHARACTER.search(value):
        raise BadRequest("KERNEL_WORKING_DIR must be an absolute path.")
    return value


def _resources(environment: Mapping[str, str]) -> Resources:
    amounts: dict[str, str] = {}
    for name in Resources.__dataclass_fields__:
        variable = f"KERNEL_{name.upper()}"
        value = environment.get(variable, "").strip()
        if not value:
            continue
        try:
            amount = quantity(value)
        except InvalidQuantity as error:
            raise BadRequest(f"{variable} is not an amount: {error}.") from error
        if name.startswith("gpus") and amount != int(amount):
            raise BadRequest(f"{variable} must be a whole number of devices.")
        amounts[name] = value
    return Resources(**amounts)


def _mappings(variable: str, environment: Mapping[str, str]) -> tuple[Mapping[str, Any], ...]:
    raw = environment.get(variable, "")
    if not raw.strip():
        return ()
    try:
        value = read_document(raw)
    except DocumentError as error:
        raise BadRequest(f"{variable} can't be read: {error}.") from error
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadRequest(f"{variable} must be a list of mappings, in YAML or JSON.")
    return tuple(value)


def launch_seconds(request: LaunchRequest, *, default: float, maximum: float) -> float:
    """Return the seconds for a start: what KERNEL_LAUNCH_TIMEOUT asks for, from 1 to `maximum`, or `default`.

    Raises
    ------
    BadRequest
        It isn't a positive number.
    """
    raw = request.environment.get("KERNEL_LAUNCH_TIMEOUT")
    if not raw:
        return default
    try:
        seconds = float(raw)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise BadRequest("KERNEL_LAUNCH_TIMEOUT must be a positive number of seconds.")
    return min(max(seconds, 1.0), maximum)

"""One start, read once and typed: what the client asks for, what the kernelspec says, and what the kernel finds.

Everything that decides on a start or makes it works with this one value; nobody reads a variable a second time.
"""

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from enterprise_gateway.errors import BadRequest, Forbidden, LaunchFailed
from enterprise_gateway.launch.environment import EnvironmentRules, accepted_environment, filled_environment
from enterprise_gateway.launch.variables import (
    DEFAULT_GID,
    DEFAULT_UID,
    DOCUMENT_VARIABLES,
    PREFIX,
    InvalidVariable,
    KernelVariables,
    Resources,
    check_ids,
    read_kernel_id,
    read_variables,
)
from enterprise_gateway_common.image_reference import InvalidImageReference, parse_image_reference

__all__ = ["KernelFacts", "LaunchRequest", "client_variables", "compose_request", "kernel_facts", "recorded_request"]

_WORKING_DIR = "KERNEL_WORKING_DIR"
_LAUNCH_TIMEOUT = "KERNEL_LAUNCH_TIMEOUT"


@dataclass(frozen=True, kw_only=True)
class KernelFacts:
    """What is known of a kernel whoever asks for it; no variable changes it."""

    kernel_id: str
    kernel_name: str
    username: str
    language: str
    default_image: str | None = None
    """The kernelspec's image, or the gateway's for kernelspecs that name none."""
    executor_image: str | None = None
    """The kernelspec's image of the pods that its kernels start; `None` where it names none."""
    starts_pods: bool = False
    """Whether the kernel starts pods of its own, as a Spark driver does: see `spark.starts_pods`."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    """Labels of the nodes that the kernelspec's kernels go to, where its template names none."""
    image_pull_policy: str | None = None
    """When the kernelspec's image is pulled anew, where its template doesn't say."""
    proxy_ports: tuple[int, ...] = ()
    """Ports of the pod that the gateway passes on."""

    @property
    def variables(self) -> dict[str, str]:
        """The variables by which the kernel is told."""
        return {
            "KERNEL_ID": self.kernel_id,
            "KERNEL_NAME": self.kernel_name,
            "KERNEL_USERNAME": self.username,
            "KERNEL_LANGUAGE": self.language,
        }


@dataclass(frozen=True, kw_only=True)
class LaunchRequest:
    """One start, readable and typed; not yet allowed."""

    kernel: KernelFacts
    judged: KernelVariables
    """What the client decides, which the policy judges: what it sends, and what is made of that in the kernelspec's `env`."""
    wanted: KernelVariables
    """What holds: the client's word before the kernelspec's."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Everything that the kernel finds in its environment."""

    @property
    def uid(self) -> int:
        """The user that the kernel runs as."""
        return DEFAULT_UID if self.wanted.uid is None else self.wanted.uid

    @property
    def gid(self) -> int:
        """The group that the kernel runs as."""
        return DEFAULT_GID if self.wanted.gid is None else self.wanted.gid

    @property
    def image(self) -> str:
        """The kernel's image; empty where nobody names one, which `in_pod` refuses."""
        return self.wanted.image or self.kernel.default_image or ""

    @property
    def executor_image(self) -> str:
        """The image of the pods that the kernel starts: the kernel's own where nobody names another."""
        own = self.kernel.executor_image
        # A kernelspec that names one image twice means that driver and executors run the same, whichever the client chose.
        return self.wanted.executor_image or (own if own != self.kernel.default_image else None) or self.image

    @property
    def judged_names(self) -> list[str]:
        """The names of the variables that the policy judges, for the kernel's record."""
        return sorted(name for name in self.judged.environment if name.startswith(PREFIX))

    def launch_seconds(self, *, default: float, maximum: float) -> float:
        """Return the seconds for the start: what KERNEL_LAUNCH_TIMEOUT says, from 1 to `maximum`, or `default`."""
        seconds = self.wanted.launch_seconds
        return default if seconds is None else min(max(seconds, 1.0), maximum)

    def in_pod(
        self,
        *,
        default_image: str | None,
        executor_image: str | None = None,
        starts_pods: bool = False,
        node_selector: Mapping[str, str] | None = None,
        image_pull_policy: str | None = None,
        proxy_ports: tuple[int, ...] = (),
        mirror_working_dirs: bool = False,
    ) -> "LaunchRequest":
        """Return the start with what the kernelspec's config and argv and the settings say of pods.

        Raises
        ------
        BadRequest
            The kernel is to start in a folder that is none.
        LaunchFailed
            Nobody names an image, or the kernelspec one that is none.
        """
        environment, wanted = self.environment, self.wanted
        if not mirror_working_dirs:
            environment = {name: value for name, value in environment.items() if name != _WORKING_DIR}
            wanted = dataclasses.replace(wanted, working_dir=None)
        elif wanted.working_dir is not None and not wanted.working_dir.startswith("/"):
            raise BadRequest("KERNEL_WORKING_DIR must be an absolute path.")
        kernel = dataclasses.replace(
            self.kernel,
            default_image=_kernelspec_image(default_image),
            executor_image=_kernelspec_image(executor_image),
            starts_pods=starts_pods,
            node_selector=dict(node_selector or {}),
            image_pull_policy=image_pull_policy,
            proxy_ports=proxy_ports,
        )
        completed = dataclasses.replace(self, kernel=kernel, wanted=wanted, environment=environment)
        if not completed.image:
            raise LaunchFailed(
                "No kernel image could be determined: set `image_name` in the kernelspec's config stanza, EG_KERNEL_IMAGE for "
                "the gateway, or KERNEL_IMAGE in the request."
            )
        return completed

    def with_environment(self, environment: Mapping[str, str]) -> "LaunchRequest":
        """Return the start of a kernel that finds this environment."""
        return dataclasses.replace(self, environment=environment)

    def template_variables(self) -> dict[str, Any]:
        """Return what a template can print: each KERNEL_* in lower case, those that are understood with their type."""
        variables: dict[str, Any] = {name.lower(): value for name, value in self.environment.items() if name.startswith(PREFIX)}
        typed = {
            "kernel_id": self.kernel.kernel_id,
            "kernel_name": self.kernel.kernel_name,
            "kernel_username": self.kernel.username,
            "kernel_language": self.kernel.language,
            "kernel_image": self.image,
            "kernel_executor_image": self.executor_image,
            "kernel_uid": self.uid,
            "kernel_gid": self.gid,
            "kernel_working_dir": self.wanted.working_dir,
            "kernel_volumes": [dict(volume) for volume in self.wanted.volumes or ()] or None,
            "kernel_volume_mounts": [dict(mount) for mount in self.wanted.volume_mounts or ()] or None,
            **{f"kernel_{each.name}": getattr(self.wanted.resources, each.name) for each in dataclasses.fields(Resources)},
        }
        for name, value in typed.items():
            # A template asks `is defined`: what nobody asked for must not be there, not even as nothing.
            if value is None:
                variables.pop(name, None)
            else:
                variables[name] = value
        return variables


def client_variables(env: Mapping[str, str], rules: EnvironmentRules) -> KernelVariables:
    """Return what a client asks for by the `env` of its request, of which names that aren't let through are dropped.

    Raises
    ------
    BadRequest
        A variable can't be one, or can't be read.
    Forbidden
        A user's or group's id is none, or a prohibited one.
    """
    try:
        variables = read_variables(accepted_environment(env, rules))
    except InvalidVariable as error:
        raise (Forbidden if error.about_ids else BadRequest)(str(error)) from error
    check_ids(variables, uids=rules.prohibited_uids, gids=rules.prohibited_gids)
    return variables


def compose_request(
    *,
    kernel: KernelFacts,
    client: KernelVariables,
    kernelspec: Mapping[str, str],
    inherited: Mapping[str, str],
    said: Mapping[str, str],
    in_pod: bool,
) -> LaunchRequest:
    """Return a start as client and kernelspec describe it together.

    Parameters
    ----------
    kernelspec
        `env` of the kernel.json; `${NAME}` in a value stands for an inherited variable, one of the client's, or a fact.
    inherited
        What the kernel gets of the gateway's own environment.
    said
        What the gateway says to every kernel beside the facts; nobody overrides either.
    in_pod
        Whether the kernel runs in a pod; elsewhere most variables of a kernelspec are its own affair.

    Raises
    ------
    BadRequest, Forbidden
        What the client wrote makes a variable of the kernelspec's that can't be read, or the user's name would lead out of
        the folder that the kernelspec's volumes make of it.
    LaunchFailed
        A variable of the kernelspec's can't be read.
    """
    facts = {**kernel.variables, **said}
    filled = filled_environment(kernelspec, {**inherited, **client.environment, **facts})
    if any("KERNEL_USERNAME" in filled.used.get(name, ()) for name in DOCUMENT_VARIABLES):
        _check_is_one_folder(kernel.username)
    # Both are the administrator's.
    own = {name: value for name, value in {**inherited, **filled.values}.items() if name not in facts}
    understood = {name: value for name, value in own.items() if name.startswith(PREFIX) and (in_pod or name == _LAUNCH_TIMEOUT)}
    # What a client's value was filled into is the client's choice, as far as its value reaches; a fact is the gateway's.
    chosen = client.environment.keys() - facts.keys()
    by_client = {name: value for name, value in understood.items() if filled.used.get(name, frozenset()) & chosen}
    judged = client.over(_read(by_client))
    wanted = client.over(_read(understood, of_kernelspec=True))
    environment = {**own, **wanted.environment, **facts}
    return LaunchRequest(kernel=kernel, judged=judged, wanted=wanted, environment=environment)


def recorded_request(*, kernel: KernelFacts, environment: Mapping[str, str], judged: Collection[str]) -> LaunchRequest:
    """Return the start of a kernel that runs already, from its record.

    Parameters
    ----------
    judged
        Names of the variables that the client decides.

    Raises
    ------
    BadRequest, Forbidden
        A variable can't be read.
    """
    variables = {name: value for name, value in environment.items() if name.startswith(PREFIX) and name not in kernel.variables}
    return LaunchRequest(
        kernel=kernel,
        judged=_read({name: value for name, value in variables.items() if name in judged}),
        wanted=_read(variables),
        environment=environment,
    )


def kernel_facts(*, kernel_id: str, kernel_name: str, username: str, language: str) -> KernelFacts:
    """Return the facts of a kernel whose id somebody else than the gateway chose.

    Raises
    ------
    BadRequest
        The id has not the form of a kernel's.
    """
    try:
        kernel_id = read_kernel_id("KERNEL_ID", kernel_id)
    except InvalidVariable as error:
        raise BadRequest(str(error)) from error
    return KernelFacts(kernel_id=kernel_id, kernel_name=kernel_name, username=username, language=language)


def _check_is_one_folder(username: str) -> None:
    if "/" in username or username in {".", ".."}:
        raise BadRequest(
            "KERNEL_USERNAME becomes part of a path in the kernelspec's volumes; it can't hold a slash or be all dots."
        )


def _read(variables: Mapping[str, str], *, of_kernelspec: bool = False) -> KernelVariables:
    try:
        return read_variables(variables)
    except InvalidVariable as error:
        if of_kernelspec:
            raise LaunchFailed(f"The kernelspec's env can't be used: {error}") from error
        raise (Forbidden if error.about_ids else BadRequest)(str(error)) from error


def _kernelspec_image(image: str | None) -> str | None:
    if not image:
        return None
    try:
        parse_image_reference(image)
    except InvalidImageReference as error:
        raise LaunchFailed(f"The kernelspec's image is not a valid image reference: {error}") from error
    return image

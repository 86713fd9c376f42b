"""What the administrator allows a client to ask for: one YAML file, checked when it is read, used before anything is created.

Without a file the defaults of `Policy` hold. They let a client run the kernelspec's own image, as a user other than
root, in the namespace and with the service account that the gateway chooses, with scratch volumes only.
"""

import fnmatch
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from enterprise_gateway.errors import LaunchFailed, PolicyViolation
from enterprise_gateway.launch.quantity import InvalidQuantity, quantity
from enterprise_gateway.launch.request import LaunchRequest
from enterprise_gateway.launch.variables import DEFAULT_GID, DEFAULT_UID, KernelVariables, Resources, check_ids
from enterprise_gateway_common.image_reference import parse_image_reference

__all__ = [
    "SYSTEM_NAMESPACE_PREFIX",
    "Maxima",
    "Policy",
    "PolicyError",
    "PolicyFile",
    "check_request",
    "open_policy",
    "read_policy",
]

_log = logging.getLogger(__name__)

SYSTEM_NAMESPACE_PREFIX = "kube-"


class PolicyError(ValueError):
    """A policy file can't be used; the text says which part of it."""


class Maxima(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The most that one kernel may ask for, as requests or limits; no bound where nothing stands."""

    cpus: str | None = None
    memory: str | None = None
    gpus: str | None = None


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a client may ask for beside what the kernelspec and the gateway's settings say."""

    images: tuple[str, ...] = ()
    """Patterns (`*`, `?`) for the full name of KERNEL_IMAGE, tag included; the kernelspec's own image always may."""
    namespaces: tuple[str, ...] = ()
    """Patterns for KERNEL_NAMESPACE, but of kernels that start pods."""
    spark_namespaces: tuple[str, ...] = ()
    """Patterns for KERNEL_NAMESPACE of kernels that start pods, which can read every Secret of their namespace."""
    service_accounts: tuple[str, ...] = ()
    """Patterns for KERNEL_SERVICE_ACCOUNT_NAME."""
    volume_types: tuple[str, ...] = ("emptyDir",)
    """Types of volumes that KERNEL_VOLUMES may name: emptyDir, persistentVolumeClaim, nfs, configMap, …"""
    maximum_volumes: int = 16
    maxima: Maxima = Maxima()
    prohibited_uids: tuple[int, ...] = (0,)
    prohibited_gids: tuple[int, ...] = (0,)
    maximum_launch_timeout: float = 900.0
    """The most seconds that KERNEL_LAUNCH_TIMEOUT may ask for."""


def read_policy(text: str) -> Policy:
    """Return the policy that a YAML text says.

    Raises
    ------
    PolicyError
        A field is unknown, has the wrong type or a value that no policy can mean.
    """
    try:
        policy = msgspec.yaml.decode(text, type=Policy) if text.strip() else Policy()
        for name in ("cpus", "memory", "gpus"):
            amount = getattr(policy.maxima, name)
            if amount is not None:
                quantity(amount)
    except msgspec.MsgspecError as error:
        raise PolicyError(str(error)) from error
    except InvalidQuantity as error:
        raise PolicyError(f"maxima: {error}") from error
    if policy.maximum_volumes < 0 or not 1 <= policy.maximum_launch_timeout < float("inf"):
        raise PolicyError("maximum_volumes must not be negative and maximum_launch_timeout at least 1")
    return policy


class PolicyFile:
    """The policy of a file, read anew when the file changes; a file that can't be used leaves the last good policy in force.

    Parameters
    ----------
    path
        The file; `None` for the defaults.

    Raises
    ------
    PolicyError, OSError
        The file can't be used when the gateway starts.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: object = None
        self._policy = Policy()
        if path is not None:
            self._seen = _mark(path)
            self._policy = read_policy(path.read_text(encoding="utf-8"))

    def current(self) -> Policy:
        """Return the policy that holds now."""
        if self._path is None:
            return self._policy
        try:
            mark = _mark(self._path)
            if mark != self._seen:
                self._policy = read_policy(self._path.read_text(encoding="utf-8"))
                self._seen = mark
                _log.info("Policy file read anew", extra={"path": str(self._path)})
        except (OSError, PolicyError, UnicodeDecodeError) as error:
            # Refusing every start because somebody is in the middle of an edit helps nobody; the log says it each time.
            _log.error(
                "Policy file can't be used; the last good one stays in force",
                extra={"path": str(self._path), "cause": str(error)},
            )
        return self._policy


def open_policy(path: str | None) -> PolicyFile:
    """Return the policy of the file that a setting names; the defaults where it names none.

    Raises
    ------
    ValueError
        The file can't be used.
    """
    try:
        return PolicyFile(Path(path) if path else None)
    except OSError as error:
        raise ValueError(f"policy_file: {path} can't be read: {error.strerror}.") from error


def _mark(path: Path) -> tuple[int, int, int]:
    # A mounted ConfigMap changes by another symbolic link, so the inode counts too.
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def check_request(
    request: LaunchRequest, policy: Policy, *, gateway_namespace: str | None, gateway_service_account: str | None
) -> None:
    """Return when everything is allowed that the client decides; what the kernelspec says is its administrator's.

    Parameters
    ----------
    gateway_namespace, gateway_service_account
        Never usable by a client, whatever the policy says: who runs there or as this account can read every kernel's keys.

    Raises
    ------
    PolicyViolation
        A part isn't; the text names it and what would be allowed where that is no secret.
    LaunchFailed
        The kernelspec contradicts itself.
    """
    asked, wanted = request.judged, request.wanted
    # The ids that a kernel has where nobody names any are what a client gets that leaves its own out.
    uid = DEFAULT_UID if wanted.uid is None else asked.uid
    gid = DEFAULT_GID if wanted.gid is None else asked.gid
    check_ids(KernelVariables(uid=uid, gid=gid), uids=policy.prohibited_uids, gids=policy.prohibited_gids)
    own_images = {None, request.kernel.default_image, request.kernel.executor_image}
    for variable, image in (("KERNEL_IMAGE", asked.image), ("KERNEL_EXECUTOR_IMAGE", asked.executor_image)):
        if image is not None and image not in own_images and not _matches(_image_names(image), policy.images):
            raise PolicyViolation(f"{variable} names an image that isn't allowed; leave it out to use the kernelspec's image.")
    allowed = policy.spark_namespaces if request.kernel.starts_pods else policy.namespaces
    _check_namespace(asked.namespace, allowed, gateway_namespace)
    account = asked.service_account
    if account is not None and (account == gateway_service_account or not _matches((account,), policy.service_accounts)):
        raise PolicyViolation("KERNEL_SERVICE_ACCOUNT_NAME names a service account that isn't allowed.")
    _check_maxima(asked.resources, policy.maxima)
    _check_limits(asked.resources, wanted.resources)
    _check_volumes(asked, policy)


def _check_namespace(namespace: str | None, allowed: tuple[str, ...], gateway_namespace: str | None) -> None:
    if namespace is None:
        return
    protected = namespace == gateway_namespace or namespace.startswith(SYSTEM_NAMESPACE_PREFIX)
    if protected or not _matches((namespace,), allowed):
        raise PolicyViolation("KERNEL_NAMESPACE names a namespace that isn't allowed; leave it out to get one.")


def _image_names(image: str) -> tuple[str, ...]:
    # A pattern may be written as people write images ("elyra/*") or in full ("docker.io/elyra/*").
    return image, str(parse_image_reference(image))


def _matches(texts: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(text, pattern) for text in texts for pattern in patterns)


def _check_maxima(resources: Resources, maxima: Maxima) -> None:
    for name in Resources.__dataclass_fields__:
        asked, maximum = getattr(resources, name), getattr(maxima, name.removesuffix("_limit"))
        if asked is not None and maximum is not None and quantity(asked) > quantity(maximum):
            raise PolicyViolation(f"KERNEL_{name.upper()} may be at most {maximum}.")


def _check_limits(asked: Resources, wanted: Resources) -> None:
    for name in ("cpus", "memory", "gpus"):
        amount, limit = getattr(wanted, name), getattr(wanted, f"{name}_limit")
        if amount is None or limit is None or quantity(amount) <= quantity(limit):
            continue
        if getattr(asked, name) is None and getattr(asked, f"{name}_limit") is None:
            raise LaunchFailed(
                f"The kernelspec's env can't be used: KERNEL_{name.upper()} is more than KERNEL_{name.upper()}_LIMIT."
            )
        raise PolicyViolation(f"KERNEL_{name.upper()} is more than KERNEL_{name.upper()}_LIMIT.")


def _check_volumes(asked: KernelVariables, policy: Policy) -> None:
    volumes, mounts = asked.volumes or (), asked.volume_mounts or ()
    if len(volumes) > policy.maximum_volumes or len(mounts) > policy.maximum_volumes:
        raise PolicyViolation(f"KERNEL_VOLUMES and KERNEL_VOLUME_MOUNTS may name at most {policy.maximum_volumes} each.")
    for volume in volumes:
        types = sorted(set(volume) - {"name"})
        # A volume without a type is an emptyDir to Kubernetes.
        for refused in (kind for kind in types or ["emptyDir"] if kind not in policy.volume_types):
            raise PolicyViolation(f"KERNEL_VOLUMES: volumes of type {_shown(refused)} aren't allowed.")
    for mount in mounts:
        _check_mount(mount)


_MOUNT_KEYS: Mapping[str, Callable[[Any], bool]] = {
    "name": lambda value: isinstance(value, str),
    "mountPath": lambda value: isinstance(value, str) and value.startswith("/") and ".." not in value.split("/"),
    "subPath": lambda value: isinstance(value, str) and not value.startswith("/") and ".." not in value.split("/"),
    "readOnly": lambda value: isinstance(value, bool),
}


def _check_mount(mount: Mapping[str, Any]) -> None:
    for key, value in mount.items():
        accept = _MOUNT_KEYS.get(key)
        if accept is None:
            known = ", ".join(_MOUNT_KEYS)
            raise PolicyViolation(f"KERNEL_VOLUME_MOUNTS: {_shown(key)} isn't allowed; a mount has {known}.")
        if not accept(value):
            raise PolicyViolation(f"KERNEL_VOLUME_MOUNTS: the value of {key} isn't allowed.")


def _shown(text: str) -> str:
    return text[:64].encode("unicode_escape").decode()

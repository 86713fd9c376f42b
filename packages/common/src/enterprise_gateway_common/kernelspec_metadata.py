"""What a kernelspec's metadata says of how its kernel is started: one reading for the gateway and the puller.

A kernel.json names its platform in `metadata.process_proxy` (`class_name`, `config`) or in
`metadata.kernel_provisioner` (`provisioner_name`, `config`). Both are read; where both stand, the newer
`kernel_provisioner` counts. A kernel.json is written by people: nothing here trusts its shape.
"""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

__all__ = [
    "KernelspecImage",
    "MalformedMetadataError",
    "ProvisionerStanza",
    "kernelspec_images",
    "provisioner_config",
    "provisioner_stanza",
    "proxy_ports",
]

_STANZAS = ("process_proxy", "kernel_provisioner")
_IMAGE_KEYS = ("image_name", "executor_image_name")
_PULL_POLICIES = ("IfNotPresent", "Always")
_LOWEST_PORT, _HIGHEST_PORT = 1024, 65535
_MOST_PORTS = 16


class MalformedMetadataError(ValueError):
    """A kernelspec's metadata has not the shape that it must have; the text says where."""


class ProvisionerStanza(NamedTuple):
    """How a kernelspec wants its kernel started."""

    key: str
    """`process_proxy` or `kernel_provisioner`: which of the two forms the kernelspec uses."""
    name: str
    """The process proxy's class name (a dotted path) or the provisioner's name."""
    config: Dict[str, Any]


class KernelspecImage(NamedTuple):
    """One image that a kernelspec names, as it is written there, with what its config says of keeping it."""

    image: str
    pull_policy: Optional[str] = None
    """`config.image_pull_policy`: `IfNotPresent` or `Always`; `None` where the kernelspec leaves it open."""
    node_selector: Tuple[Tuple[str, str], ...] = ()
    """`config.node_selector`, sorted: labels a node must have to be given the image; empty means every node."""


def provisioner_stanza(metadata: Mapping[str, Any]) -> Optional[ProvisionerStanza]:
    """Return how a kernelspec wants its kernel started, or `None` where it doesn't say.

    Raises
    ------
    MalformedMetadataError
        The stanza, its name or its config has the wrong type.
    """
    for key, name_key in (("kernel_provisioner", "provisioner_name"), ("process_proxy", "class_name")):
        stanza = metadata.get(key)
        if stanza is None:
            continue
        if not isinstance(stanza, dict):
            raise MalformedMetadataError(f"metadata.{key} is not an object")
        name, config = stanza.get(name_key, ""), stanza.get("config", {})
        if not isinstance(name, str):
            raise MalformedMetadataError(f"metadata.{key}.{name_key} is not a text")
        if not isinstance(config, dict):
            raise MalformedMetadataError(f"metadata.{key}.config is not an object")
        return ProvisionerStanza(key, name, config)
    return None


def provisioner_config(metadata: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the stanza's config; empty where a kernelspec has no stanza.

    Raises
    ------
    MalformedMetadataError
        As `provisioner_stanza`.
    """
    stanza = provisioner_stanza(metadata)
    return stanza.config if stanza else {}


def proxy_ports(metadata: Mapping[str, Any]) -> Tuple[int, ...]:
    """Return the ports of its kernels' pods that a kernelspec has the gateway pass on, sorted; none where it names none.

    Raises
    ------
    MalformedMetadataError
        They are no list of at most 16 whole numbers from 1024 to 65535, or as `provisioner_stanza`.
    """
    stanza = provisioner_stanza(metadata)
    named = stanza.config.get("proxy_ports") if stanza else None
    if stanza is None or named is None:
        return ()
    # To Python, and not to who writes a kernel.json, `true` is a number.
    usable = isinstance(named, list) and all(
        isinstance(port, int) and not isinstance(port, bool) and _LOWEST_PORT <= port <= _HIGHEST_PORT for port in named
    )
    if not usable or len(named) > _MOST_PORTS:
        wanted = f"a list of at most {_MOST_PORTS} ports from {_LOWEST_PORT} to {_HIGHEST_PORT}"
        raise MalformedMetadataError(f"metadata.{stanza.key}.config.proxy_ports is not {wanted}")
    return tuple(sorted(set(named)))


def kernelspec_images(spec: Any) -> List[KernelspecImage]:  # noqa: ANN401  it comes from JSON that somebody else wrote
    """Return the images that a kernelspec names, each once, in the order in which they stand there.

    Unlike the stanza, which decides how a kernel is started, the images of both forms are returned: a gateway of either
    kind then finds its image on the node.

    Parameters
    ----------
    spec
        The content of a kernel.json, or the value of `spec` in the gateway's answer.

    Raises
    ------
    MalformedMetadataError
        A part that is read has the wrong type.
    """
    metadata = _section(_mapping(spec, "the kernelspec"), "metadata", "metadata")
    found: List[KernelspecImage] = []
    for name in _STANZAS:
        place = f"metadata.{name}.config"
        config = _section(_section(metadata, name, f"metadata.{name}"), "config", place)
        policy = _pull_policy(config.get("image_pull_policy"), place)
        selector = _node_selector(config.get("node_selector"), place)
        for key in _IMAGE_KEYS:
            image = _image(config.get(key), f"{place}.{key}")
            candidate = KernelspecImage(image, policy, selector) if image else None
            if candidate is not None and candidate not in found:
                found.append(candidate)
    return found


def _mapping(value: Any, place: str) -> Mapping[str, Any]:  # noqa: ANN401  as above
    if not isinstance(value, Mapping):
        raise MalformedMetadataError(f"{place} is not an object")
    return value


def _section(parent: Mapping[str, Any], key: str, place: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return {} if value is None else _mapping(value, place)


def _image(value: Any, place: str) -> str:  # noqa: ANN401  as above
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedMetadataError(f"{place} is not a text")
    return value.strip()


def _pull_policy(value: Any, place: str) -> Optional[str]:  # noqa: ANN401  as above
    if value is None:
        return None
    if not isinstance(value, str) or value not in _PULL_POLICIES:
        raise MalformedMetadataError(f"{place}.image_pull_policy is not one of {', '.join(_PULL_POLICIES)}")
    return value


def _node_selector(value: Any, place: str) -> Tuple[Tuple[str, str], ...]:  # noqa: ANN401  as above
    if value is None:
        return ()
    selector = _mapping(value, f"{place}.node_selector")
    if not all(isinstance(text, str) for pair in selector.items() for text in pair):
        raise MalformedMetadataError(f"{place}.node_selector doesn't map labels to texts")
    return tuple(sorted(selector.items()))

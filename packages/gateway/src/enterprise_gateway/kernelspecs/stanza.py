"""What a kernelspec's metadata says of how its kernel is started.

A kernel.json names its platform in `metadata.process_proxy` (`class_name`, `config`) or in
`metadata.kernel_provisioner` (`provisioner_name`, `config`). Both are read; where both stand, the newer
`kernel_provisioner` counts. A kernel.json is written by people: nothing here trusts its shape.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["MalformedMetadataError", "ProvisionerStanza", "provisioner_config", "provisioner_stanza"]


class MalformedMetadataError(ValueError):
    """A kernelspec's metadata has not the shape that it must have; the text says where."""


class ProvisionerStanza(NamedTuple):
    """How a kernelspec wants its kernel started."""

    key: str
    """`process_proxy` or `kernel_provisioner`: which of the two forms the kernelspec uses."""
    name: str
    """The process proxy's class name (a dotted path) or the provisioner's name."""
    config: dict[str, Any]


def provisioner_stanza(metadata: Mapping[str, Any]) -> ProvisionerStanza | None:
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


def provisioner_config(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stanza's config; empty where a kernelspec has no stanza.

    Raises
    ------
    MalformedMetadataError
        As `provisioner_stanza`.
    """
    stanza = provisioner_stanza(metadata)
    return stanza.config if stanza else {}

"""Images from a ConfigMap, asked of the API server."""

from typing import Protocol

from kernel_image_puller.errors import KubernetesCallFailed, SourceFailed
from kernel_image_puller.sources.entries import read_entries
from kernel_image_puller.sources.protocol import SourceAnswer

__all__ = ["ConfigMapReader", "ConfigMapSource"]


class ConfigMapReader(Protocol):
    """The one call that this source needs."""

    def config_map(self, namespace: str, name: str) -> dict[str, str]:
        """Return the data of a ConfigMap; raises `KubernetesCallFailed`."""


class ConfigMapSource:
    """A YAML list below one key of a ConfigMap."""

    def __init__(self, *, reader: ConfigMapReader, namespace: str, name: str, key: str) -> None:
        self.name = f"ConfigMap {namespace}/{name}"
        self._reader = reader
        self._namespace = namespace
        self._name = name
        self._key = key

    def fetch(self) -> SourceAnswer:
        """Return the images of the list."""
        try:
            data = self._reader.config_map(self._namespace, self._name)
        except KubernetesCallFailed as error:
            raise SourceFailed(str(error)) from error
        if self._key not in data:
            raise SourceFailed(f"{self.name} has no key {self._key!r}")
        return read_entries(data[self._key], self.name)

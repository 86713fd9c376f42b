"""What changed in the outputs of an execution since somebody last looked."""

from collections.abc import Iterator
from typing import Any

__all__ = ["Event", "OutputChanges"]

Event = tuple[str, dict[str, Any]]
"""An event's name and its data."""


class OutputChanges:
    """Compares outputs with those that were shown before; applied in order, its events make the one of the other."""

    def __init__(self) -> None:
        self._shown: list[dict[str, Any]] = []

    def until(self, outputs: list[dict[str, Any]]) -> Iterator[Event]:
        """Return what to do to the outputs that were shown before: keep only the first, take a new one, or add text to one."""
        if len(outputs) < len(self._shown):
            yield "keep", {"outputs": len(outputs)}
        for index, output in enumerate(outputs):
            before = self._shown[index] if index < len(self._shown) else None
            if before == output:
                continue
            added = _added_text(before, output)
            if added is None:
                yield "output", {"index": index, "output": output}
            else:
                yield "text", {"index": index, "text": added}
        self._shown = outputs


def _added_text(before: dict[str, Any] | None, output: dict[str, Any]) -> str | None:
    if before is None or output["output_type"] != "stream" or before.get("name") != output["name"]:
        return None
    text, shown = output["text"], before["text"]
    return text[len(shown) :] if text.startswith(shown) else None

"""What holds for every test on real parts."""

from __future__ import annotations

from pathlib import Path

import pytest

_HERE = Path(__file__).parent
# An event loop that ends at once leaves its TLS connections to the garbage collector, which comes by in any later test.
_LEFT_TO_THE_COLLECTOR = ("default::ResourceWarning", "default::pytest.PytestUnraisableExceptionWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            for warning in _LEFT_TO_THE_COLLECTOR:
                item.add_marker(pytest.mark.filterwarnings(warning))

"""Tests in a random order that can be had again: `pytest --order-seed=random`, then `--order-seed=NUMBER`.

A pytest plugin; the conftest.py at the top loads it. Modules are shuffled, and the tests within each: a module's fixtures
are servers and kernels, which would be started again and again if tests of all modules were mixed.
"""

from __future__ import annotations

import random
from itertools import groupby
from operator import attrgetter
from typing import Any

import pytest

_OPTION = "order_seed"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer `--order-seed`."""
    parser.addoption(
        "--order-seed",
        dest=_OPTION,
        metavar="SEED",
        help="run the tests in the order that this seed gives; 'random' chooses one and prints it",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed, once for all processes of a run."""
    if config.getoption(_OPTION) == "random":
        chosen = getattr(config, "workerinput", {}).get(_OPTION) or str(random.SystemRandom().randrange(1_000_000))
        setattr(config.option, _OPTION, chosen)
    if config.getoption(_OPTION):
        # pytest-xdist would begin with the modules that have most tests, in whatever order they came.
        config.option.loadscopereorder = False


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process of pytest-xdist, which gets the command line as it was typed."""
    node.workerinput[_OPTION] = node.config.getoption(_OPTION)


def _hint(config: pytest.Config) -> str:
    return f"order of the tests: random; the same again: --order-seed={config.getoption(_OPTION)}"


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say how to have this order again."""
    return _hint(config) if config.getoption(_OPTION) else None


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    """Say it again beside the failures."""
    if exitstatus and config.getoption(_OPTION):
        terminalreporter.write_line(_hint(config))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shuffle modules, and tests within each."""
    if seed := config.getoption(_OPTION):
        order = random.Random(seed)  # noqa: S311 - an order of tests is no secret
        modules = [list(tests) for _, tests in groupby(items, key=attrgetter("path"))]
        order.shuffle(modules)
        for tests in modules:
            order.shuffle(tests)
        items[:] = [test for tests in modules for test in tests]

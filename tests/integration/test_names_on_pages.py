"""Every page of docs/: the environment variables and the chart's values that it names exist."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import kernel_image_puller.settings as puller_settings
from enterprise_gateway.settings import GatewaySettings
from enterprise_gateway_common.environment import declarations

ROOT = Path(__file__).parents[2]
VALUES = yaml.safe_load((ROOT / "deploy" / "helm" / "enterprise-gateway" / "values.yaml").read_text())
# What moved is named there on purpose, with where it went.
PAGES = sorted({*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"} - {ROOT / "docs" / "migrating-values.md"})
SECTIONS = "|".join(name for name, value in VALUES.items() if isinstance(value, dict))
# Read by the command line itself, before there are settings.
OF_THE_COMMAND_LINE = {"EG_LOG_LEVEL"}


def _environment() -> set[str]:
    of_the_puller = [
        each
        for each in vars(puller_settings).values()
        if isinstance(each, type) and dataclasses.is_dataclass(each) and each.__module__ == puller_settings.__name__
    ]
    every = [declaration for each in (GatewaySettings, *of_the_puller) for declaration in declarations(each)]
    return {name for each in every for name in each.environment} | OF_THE_COMMAND_LINE


ENVIRONMENT = _environment()


# A file, and what a Scala kernel's cells can use.
NO_VALUES = {"kernel.json", "kernel.display", "kernel.display.html", "kernel.input", "kernel.jars"}


def _exists(path: str) -> bool:
    value: Any = VALUES
    for key in path.split("."):
        if not isinstance(value, dict) or (value and key not in value):
            return False
        # A mapping that is empty by default takes what its user writes.
        value = value.get(key, {})
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_environment_variables_exist(page):
    # The page for those who migrate lists names that are read no more; its own test looks after them.
    text = re.sub(r"Not read at all.*?\n\n", "", page.read_text(), flags=re.DOTALL)
    assert set(re.findall(r"`((?:EG|KIP)_[A-Z_]*[A-Z])\b", text)) <= ENVIRONMENT


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_values_of_the_chart_exist(page):
    named = set(re.findall(rf"`((?:{SECTIONS})\.[A-Za-z.]+[A-Za-z])\b", page.read_text())) - NO_VALUES
    assert not [path for path in named if not _exists(path)]

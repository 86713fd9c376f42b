"""docs/migrating.md and docs/kernel-variables.md: the names on them are those that the code reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import enterprise_gateway
import kernel_launchers
from enterprise_gateway.errors import NotSupported
from enterprise_gateway.provisioners.process_proxy import choose
from enterprise_gateway.settings import ACCEPTED_WITHOUT_EFFECT, GatewaySettings
from enterprise_gateway_common.environment import declarations
from enterprise_gateway_common.kernelspec_metadata import ProvisionerStanza

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "migrating.md").read_text()
VARIABLES = (DOCS / "kernel-variables.md").read_text()
SETTINGS = declarations(GatewaySettings)

# Names of the code's own, not of a variable: constants of Python, and parts of names of settings.
NOT_VARIABLES = {"KERNEL_CLUSTER", "KERNEL_"}


@pytest.mark.parametrize(
    ("older", "newer"),
    [(older, each.environment[0]) for each in SETTINGS for older in each.environment[1:] if older.startswith("EG_")],
)
def test_every_older_name_stands_beside_the_name_now(older, newer):
    assert f"| `{older}` | `{newer}` |" in PAGE


@pytest.mark.parametrize(
    "setting", [each for each in SETTINGS if each.group == ACCEPTED_WITHOUT_EFFECT], ids=lambda each: each.name
)
def test_every_setting_without_effect_is_named(setting):
    assert f"`{(setting.environment or (setting.name,))[0]}`" in PAGE


def test_what_is_called_not_read_is_not_a_setting():
    names = set(re.findall(r"`(EG_[A-Z_]+)", PAGE.split("Not read at all")[1].split("\n\n")[0]))
    assert names
    assert not names & {name for each in SETTINGS for name in each.environment}


@pytest.mark.parametrize("row", re.findall(r"^\| (`Yarn.*?) \| 501", PAGE, re.MULTILINE))
def test_process_proxies_that_are_called_unserved_are_refused_by_name(row):
    for name in re.findall(r"`(\w+)`", row):
        with pytest.raises(NotSupported, match=name):
            choose(ProvisionerStanza("process_proxy", f"enterprise_gateway.services.processproxies.x.{name}", {}))


def variables_read() -> set[str]:
    """Return the KERNEL_* variables that gateway and launcher read or set, by their sources."""
    places = [
        *(Path(enterprise_gateway.__file__).parent / folder for folder in ("kernels", "launch", "provisioners")),
        Path(kernel_launchers.__file__).parent,
    ]
    texts = [path.read_text() for place in places for path in place.rglob("*.py")]
    named = {name for text in texts for name in re.findall(r"[\"'](KERNEL_[A-Z_]+[A-Z])[\"']", text)}
    amounts = {f"KERNEL_{kind}{limit}" for kind in ("CPUS", "MEMORY", "GPUS") for limit in ("", "_LIMIT")}
    return (named | amounts | {"KERNEL_CONNECTION_FILE", "KERNEL_EXECUTOR_TEMPLATE"}) - NOT_VARIABLES


def test_every_variable_of_the_code_is_on_the_page_and_no_other():
    rows = re.findall(r"^\| (`KERNEL_.*?) \|", VARIABLES, re.MULTILINE)
    assert set(re.findall(r"`(KERNEL_[A-Z_]+)`", " ".join(rows))) == variables_read()

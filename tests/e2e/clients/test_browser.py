"""JupyterLab in a real browser, with a Jupyter Server behind it and its kernel in a pod."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.installation import NAME
from tests.support.jupyterlab import jupyterlab_before, walk_in_browser

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.installation import Installation
    from tests.support.servers import Workspace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

LINES = 300
PRINT = f"import time\nfor number in range({LINES}):\n    print(number, flush=True)\n    time.sleep(0.02)"
# What the browser was given in the last 50 ms before the end may come once more, and a busy machine is late with it.
REPEATED = 10


def notebook(code: str) -> dict[str, Any]:
    cell = {"id": "cell", "cell_type": "code", "source": code, "metadata": {}, "outputs": [], "execution_count": None}
    kernelspec = {"name": NAME, "display_name": NAME, "language": "python"}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernelspec}, "cells": [cell]}


def test_a_cell_ends_with_all_its_lines_though_the_gateway_is_killed_in_the_middle_of_it(
    installation: Installation, workspace: Workspace, tmp_path: Path
) -> None:
    gateway = installation.gateway().start(90)
    (tmp_path / "notebook.ipynb").write_text(json.dumps(notebook(PRINT)))
    lab = jupyterlab_before(gateway, workspace, notebooks=tmp_path).start(60)
    try:
        with walk_in_browser(lab, "notebook.ipynb", lines=LINES) as browser:
            try:
                assert browser.stdout is not None
                in_the_middle = json.loads(browser.stdout.readline())
                gateway.kill()
                gateway.start(90)
                at_the_end = json.loads(browser.stdout.readline())
            finally:
                browser.terminate()
    finally:
        lab.kill()  # a Jupyter Server that has a gateway may wait for it for long
        gateway.stop()
    shown = [int(word) for word in at_the_end["shown"].split()]
    assert (in_the_middle["prompt"], at_the_end["prompt"], at_the_end["status"]) == ("[*]:", "[1]:", "connected idle")
    assert set(shown) == set(range(LINES))
    assert len(shown) - LINES <= REPEATED

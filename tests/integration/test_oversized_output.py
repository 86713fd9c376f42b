"""An output that is larger than Jupyter Server takes from a gateway: 10 MiB, where nobody raised its limit."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.jupyterlab import jupyter_server_before
from tests.support.kernel_socket import KernelSocket, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.messages import Message
    from tests.support.servers import Server, Workspace

pytestmark = pytest.mark.usefixtures("_ours")

_CODE = "from IPython.display import HTML, display\nprint('before', flush=True)\ndisplay(HTML('x' * 12_000_000))\nprint('after')"
_PAGE = Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md"


def _run(lab: Server) -> tuple[list[Message], list[Message]]:
    """Run the cell and another through a Jupyter Server."""
    with KernelSocket(lab, lab.start_kernel()) as client:
        return client.run(_CODE, timeout=60), client.run("print('next')")


def test_a_notebook_goes_on_after_an_output_that_its_server_refuses(
    own_server: Callable[..., Server], workspace: Workspace
) -> None:
    gateway = own_server()
    lab = jupyter_server_before(gateway, workspace).start()
    try:
        large, following = _run(lab)
        lost = lab.log.count("Lost connection to Gateway")
    finally:
        lab.stop()
    assert text_of(large) == "before\nafter\n"
    assert re.fullmatch(r"\[output of 12\d{6} bytes was dropped: .*\]\n", text_of(large, "stderr"))
    assert "display_data" not in {message.type for message in large}
    assert text_of(following) == "next\n"
    assert lost == 2
    metrics = gateway.request("GET", "/metrics").text
    assert re.search(r'messages_dropped_total\{reason="too_large_for_client"\} 1', metrics)


def test_the_limit_is_raised_as_the_docs_say(own_server: Callable[..., Server], workspace: Workspace, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(# jupyter_server_config\.py:.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "jupyter_server_config.py").write_text(code, encoding="utf-8")
    lab = jupyter_server_before(own_server(), workspace)
    lab = replace(lab, environment={**lab.environment, "JUPYTER_CONFIG_DIR": str(tmp_path)}).start()
    try:
        large, _ = _run(lab)
    finally:
        lab.stop()
    (shown,) = (message for message in large if message.type == "display_data")
    assert len(shown.content["data"]["text/html"]) == 12_000_000
    assert text_of(large, "stderr") == ""

"""A pod whose folder for temporary files is full when the kernel's log begins to need it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.support.installation import delivered_template
from tests.support.kernel_socket import KernelSocket, text_of

if TYPE_CHECKING:
    from tests.support.installation import Cluster, Installation
    from tests.support.messages import Message
    from tests.support.servers import Server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

MEBIBYTE = 1 << 20
LINES = 300
# Some 30 MB: more than clients, networks and memory hold.
PRINT = f"for number in range({LINES}): print(number, 'x' * 100_000, flush=True)"
VOLUME = """
    volumeMounts:
    - name: small
      mountPath: /small
  volumes:
  - name: small
    emptyDir:
      medium: Memory
      sizeLimit: 2Mi
"""


@pytest.fixture(scope="module")
def server(installation: Installation) -> Server:
    # Everything behind the limits of the kernel's container: the client names no volumes here.
    template = delivered_template().partition("    {% if kernel_volume_mounts is defined %}")[0].rstrip() + VOLUME
    installation.add_kernelspec("small-disk", template=template, env={"TMPDIR": "/small"})
    return installation.gateway(KERNEL_LOG_MEMORY=str(MEBIBYTE), KERNEL_LOG_FILE=str(64 * MEBIBYTE)).start(90)


def numbers(messages: list[Message]) -> list[int]:
    return [int(word) for word in text_of(messages).split() if word.isdigit()]


def test_a_disk_that_is_full_under_the_log_is_a_gap_that_slow_clients_see_and_cell_and_kernel_go_on(
    server: Server, cluster: Cluster
) -> None:
    kernel_id = server.start_kernel("small-disk")
    with KernelSocket(server, kernel_id) as fast, KernelSocket(server, kernel_id) as slow:
        sent = fast.execute(PRINT)
        mine = fast.collect(sent, timeout=90)
        assert numbers(mine) == list(range(LINES))
        assert [message.content["status"] for message in mine if message.type == "execute_reply"] == ["ok"]
        late = list(
            slow.until(lambda message: message.parent == sent.id and message.content.get("execution_state") == "idle", timeout=60)
        )
        gaps = re.findall(r"\[(\d+) messages \(\d+ bytes\) of output were dropped", text_of(late, "stderr"))
        seen = numbers([message for message in late if message.parent == sent.id])
        assert seen == sorted(set(seen))
        assert 0 < len(seen) < LINES
        # Whatever isn't there was said to be missing; a line may be two messages.
        assert gaps
        assert sum(map(int, gaps)) >= LINES - len(seen)
        assert text_of(slow.run("print('on')")) == "on\n"
    (status,) = cluster.pod(kernel_id)["status"]["containerStatuses"]
    assert (status["restartCount"], status["ready"]) == (0, True)

"""Another client, in a process of its own: asks for a page again and again until its standard input ends.

    python -m tests.bench.asking_client HOST PORT TOKEN PATH INTERVAL

prints how many milliseconds each answer took.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import Server

__all__ = ["asking"]

_TIMEOUT_SECONDS = 60


@contextlib.contextmanager
def asking(server: Server, path: str, *, interval: float) -> Iterator[list[float]]:
    """Have a page asked for meanwhile; the list holds the milliseconds of each answer afterwards."""
    command = [sys.executable, "-m", __name__, "127.0.0.1", str(server.port), str(server.token), path, str(interval)]
    samples: list[float] = []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout is not None
        # Its first answer: from here on it isn't the start of a program that is measured.
        process.stdout.readline()
        yield samples
        output, _ = process.communicate(timeout=_TIMEOUT_SECONDS)
        samples += map(float, output.split())
    assert process.returncode == 0, "the client that asks has failed"


def _ask(host: str, port: int, token: str, path: str) -> float:
    begun = time.perf_counter()
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers={"Authorization": f"token {token}"})
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    assert answer.status == http.HTTPStatus.OK, answer.status
    return 1000 * (time.perf_counter() - begun)


def _main(host: str, port: str, token: str, path: str, interval: str) -> None:
    while True:
        print(f"{_ask(host, int(port), token, path):.3f}", flush=True)
        if select.select([sys.stdin], [], [], float(interval))[0]:
            return


if __name__ == "__main__":
    _main(*sys.argv[1:])

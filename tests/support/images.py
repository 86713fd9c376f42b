"""The images that were built, run by a Docker engine where security is strictest: any user id, only /tmp writable."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import pytest
from tests.support.installation import IMAGE
from tests.support.release import GATEWAY_IMAGE, PULLER_IMAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker.models.containers import Container

__all__ = ["BASE_IMAGE", "IMAGES", "LARGE_IMAGES", "require_docker", "running"]

BASE_IMAGE = os.environ.get("BASE_IMAGE", "python:3.11-slim-bookworm")
IMAGES = {
    "enterprise-gateway": GATEWAY_IMAGE,
    "kernel-image-puller": PULLER_IMAGE,
    "kernel-py": IMAGE,
    "kernel-r": "elyra/kernel-r:dev",
    "kernel-scala": "elyra/kernel-scala:dev",
}
"""Those that every run has."""
LARGE_IMAGES = {name: f"elyra/{name}:dev" for name in ("kernel-spark-py", "kernel-spark-r", "kernel-tf-py")}
"""Those of the runs that are asked for them."""


def require_docker() -> docker.DockerClient:
    """Return an engine; skip where there is none, and fail where REQUIRE_E2E=1 says that there must be one."""
    found = os.environ.get("DOCKER_HOST") or Path("/var/run/docker.sock").is_socket()
    if found and shutil.which("docker"):
        return docker.from_env()
    reason = "there is no Docker engine (DOCKER_HOST), or there is no docker command"
    if os.environ.get("REQUIRE_E2E") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@contextlib.contextmanager
def running(engine: docker.DockerClient, image: str, command: list[str] | None = None, **options: Any) -> Iterator[Container]:
    """Run an image as a user without a name and with a root file system that can't be written; no container stays."""
    container = engine.containers.run(
        image,
        command,
        detach=True,
        user="123456:0",
        read_only=True,
        tmpfs={"/tmp": ""},  # noqa: S108 - the container's
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        **options,
    )
    try:
        yield container
    finally:
        container.remove(force=True)

"""An image as older installations have it: the launcher that Jupyter Enterprise Gateway delivers, unchanged.

Nothing of it is kept here. Its files come from the source distribution that PyPI has, when the test runs.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

from tests.support.installation import IMAGE

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["build_image"]

_SOURCE = "jupyter-enterprise-gateway==3.2.3"
_LAUNCHERS = "/etc/kernel-launchers/"
_TARGET = "/usr/local/bin"
_DOCKERFILE = f"""
FROM {IMAGE}
COPY site /opt/older/site
COPY kernel-launchers/bootstrap/bootstrap-kernel.sh {_TARGET}/
COPY kernel-launchers/python {_TARGET}/kernel-launchers/python
ENV PATH=/opt/kernel/bin:$PATH PYTHONPATH=/opt/older/site
CMD ["bash", "{_TARGET}/bootstrap-kernel.sh"]
"""


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"], check=True)


def build_image(folder: Path, *, registry: str) -> str:
    """Return the name, as nodes know it, of an image with the older launcher that was pushed to a registry."""
    _pip("download", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), _SOURCE)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        for member in source.getmembers():
            _, found, path = member.name.partition(_LAUNCHERS)
            if found and path.startswith(("bootstrap/", "python/")):
                member.name = f"kernel-launchers/{path}"
                source.extract(member, folder, filter="data")
    # What that launcher imports beside the kernel.
    _pip("install", "--target", str(folder / "site"), "pycryptodomex")
    (folder / "Dockerfile").write_text(_DOCKERFILE)
    name = f"e2e-older-launcher-{secrets.token_hex(3)}:1"
    subprocess.run(["docker", "build", "--quiet", "--tag", f"{registry}/library/{name}", str(folder)], check=True)
    subprocess.run(["docker", "push", "--quiet", f"{registry}/library/{name}"], check=True)
    subprocess.run(["docker", "image", "rm", f"{registry}/library/{name}"], check=True)
    return name

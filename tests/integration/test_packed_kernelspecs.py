"""What images and users get of deploy/kernelspecs: the packing program, run as the build runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from tests.support.servers import Product, Server, Workspace

_PROGRAM = Path(__file__).parents[2] / "build-support" / "pack_kernelspecs.py"


def _pack(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, _PROGRAM, *map(str, arguments)], check=True)


def test_images_are_named_as_they_are_where_nodes_pull_them(tmp_path: Path) -> None:
    _pack("--folder", tmp_path / "kernels", "--images", "registry.example.com/team", "--tag", "1.2")
    spec = json.loads((tmp_path / "kernels" / "python_kubernetes" / "kernel.json").read_text())
    image = spec["metadata"]["kernel_provisioner"]["config"]["image_name"]
    assert image == "registry.example.com/team/kernel-py:1.2"


def test_only_kernelspecs_whose_images_there_are_can_be_packed(tmp_path: Path) -> None:
    _pack("--folder", tmp_path / "out", "--only", "kernel-py,kernel-r")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"python_kubernetes", "R_kubernetes"}


def test_what_was_in_the_folder_before_is_gone(tmp_path: Path) -> None:
    (tmp_path / "kernels" / "old").mkdir(parents=True)
    _pack("--folder", tmp_path / "kernels")
    assert "old" not in [path.name for path in (tmp_path / "kernels").iterdir()]


def test_an_archive_is_the_same_whenever_it_is_made(tmp_path: Path) -> None:
    for name in ("first", "second"):
        _pack("--archive", tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    with tarfile.open(tmp_path / "first") as archive:
        assert "kernels/python_kubernetes/scripts/kernel-pod.yaml.j2" in archive.getnames()


def test_a_program_beside_a_kernelspec_stays_one(tmp_path: Path) -> None:
    program = tmp_path / "build-support" / _PROGRAM.name
    folder = tmp_path / "deploy" / "kernelspecs" / "own"
    for parent in (program.parent, folder):
        parent.mkdir(parents=True)
    shutil.copy(_PROGRAM, program)
    (folder / "kernel.json").write_text("{}")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o700)
    packed, archive = tmp_path / "packed", tmp_path / "archive"

    subprocess.run([sys.executable, program, "--folder", packed, "--archive", archive], check=True)

    modes = {path.name: path.stat().st_mode & 0o777 for path in (packed / "own").iterdir()}
    assert modes == {"kernel.json": 0o644, "run.sh": 0o755}
    with tarfile.open(archive) as opened:
        assert {Path(entry.name).name: entry.mode for entry in opened} == modes


@pytest.mark.usefixtures("_ours")
def test_a_gateway_serves_them_with_their_logos(tmp_path: Path) -> None:
    server = Server(product=Product.GATEWAY, workspace=Workspace(root=tmp_path))
    _pack("--folder", server.workspace.data / "kernels")
    server.start()
    try:
        resources = server.request("GET", "/api/kernelspecs/python_kubernetes").json()["resources"]
        assert set(resources) == {"logo-32x32", "logo-64x64", "logo-svg"}
        answer = server.request("GET", resources["logo-64x64"])
    finally:
        server.stop()
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG")

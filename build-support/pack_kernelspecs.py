"""Packs deploy/kernelspecs for an image: with the names that the kernels' images have where they are pulled from.

A folder is what the gateway's own image holds. An archive is for an image of a user's own, from which the chart's
`kernelspecs.image` copies them: it holds `kernels/NAME/…`, to be unpacked at the root.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import re
import shutil
import stat
import tarfile
from pathlib import Path
from typing import NamedTuple

_KERNELSPECS = Path(__file__).resolve().parents[1] / "deploy" / "kernelspecs"
# The images of this project as the kernelspecs in the repository call them.
_OURS = re.compile(r"elyra/(?P<name>[a-z0-9-]+):dev")


class PackedFile(NamedTuple):
    """One file as it is to be in an image."""

    content: bytes
    mode: int


def packed(source: Path, *, images: str, tag: str, only: frozenset[str] = frozenset()) -> dict[str, PackedFile]:
    """Return every file of the kernelspecs, by its path.

    Parameters
    ----------
    images
        Registry and organization before an image's name.
    tag
        The images' tag.
    only
        Leave out kernelspecs with other images than these; nothing for none.
    """
    files = {}
    folders = [spec.parent for spec in sorted(source.glob("*/kernel.json")) if not only or only >= _images(spec)]
    for file in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        if file.name == "kernel.json":
            text = _OURS.sub(lambda match: f"{images}/{match['name']}:{tag}", content.decode())
            json.loads(text)
            content = text.encode()
        # Whoever may run it or not, a program stays one; what else a checkout says of a file is the machine's own.
        mode = 0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644
        files[file.relative_to(source).as_posix()] = PackedFile(content, mode)
    return files


def _images(spec: Path) -> set[str]:
    return {match["name"] for match in _OURS.finditer(spec.read_text())}


def write_folder(files: dict[str, PackedFile], folder: Path) -> None:
    """Make a folder hold these files and no others."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, file in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        path.chmod(file.mode)


def write_archive(files: dict[str, PackedFile], archive: Path) -> None:
    """Write an archive that is the same, byte for byte, whenever the files are."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with (
        archive.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, file in files.items():
            entry = tarfile.TarInfo(f"kernels/{name}")
            entry.size, entry.mode = len(file.content), file.mode
            tar.addfile(entry, io.BytesIO(file.content))


def main() -> None:
    """Write what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", default="elyra", help="registry and organization before an image's name (elyra)")
    parser.add_argument("--tag", default="dev", help="the images' tag (dev)")
    parser.add_argument("--only", default="", help="leave out kernelspecs with other images than these: kernel-py,kernel-r")
    parser.add_argument("--folder", type=Path, help="write them into this folder, which is emptied first")
    parser.add_argument("--archive", type=Path, help="write them into this .tar.gz")
    options = parser.parse_args()
    if not (options.folder or options.archive):
        parser.error("say where to: --folder, --archive, or both")
    files = packed(_KERNELSPECS, images=options.images, tag=options.tag, only=frozenset(filter(None, options.only.split(","))))
    if options.folder:
        write_folder(files, options.folder)
    if options.archive:
        write_archive(files, options.archive)


if __name__ == "__main__":
    main()

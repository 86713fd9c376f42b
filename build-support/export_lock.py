"""Write the lock that Pants resolved as a requirements file with hashes, so that pip installs the very same files.

With `--check` nothing is written: the exit code tells whether the exported file, the lock, 3rdparty/*.txt and the
packages' own metadata agree, and every disagreement is named on a line of its own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tomllib
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parent.parent

HEADER = """\
# Every third-party file that `make` may install, written from 3rdparty/lock.json by `make lock`: don't edit.
"""

# The environments that the lock is for, along the axes that its packages' markers look at.
AXES: dict[str, tuple[str, ...]] = {
    "sys_platform": ("linux", "darwin"),
    "python_version": ("3.11", "3.12", "3.13"),
    "platform_machine": ("x86_64", "aarch64", "arm64"),
}

# The rest of what a marker may ask, as it follows from the axes.
PLATFORM_SYSTEM = {"linux": "Linux", "darwin": "Darwin"}


@dataclass(frozen=True)
class Locked:
    """One release that the lock holds."""

    name: str
    version: Version
    hashes: tuple[str, ...]
    requires: tuple[Requirement, ...]


@dataclass(frozen=True)
class Lock:
    """What Pants resolved, and from which requirements."""

    requirements: tuple[Requirement, ...]
    releases: dict[str, Locked]


def read_lock(text: str) -> Lock:
    """Read a lock file of Pants, whose JSON follows comment lines."""
    content: dict[str, Any] = json.loads("\n".join(line for line in text.splitlines() if not line.startswith("//")))
    (resolve,) = content["locked_resolves"]
    releases: dict[str, Locked] = {
        canonicalize_name(each["project_name"]): Locked(
            name=canonicalize_name(each["project_name"]),
            version=Version(each["version"]),
            hashes=tuple(sorted(f"{artifact['algorithm']}:{artifact['hash']}" for artifact in each["artifacts"])),
            requires=tuple(Requirement(line) for line in each["requires_dists"]),
        )
        for each in resolve["locked_requirements"]
    }
    return Lock(requirements=tuple(Requirement(line) for line in content["requirements"]), releases=releases)


def environments() -> Iterator[dict[str, str]]:
    """Yield every environment that the lock is for, as markers see it."""
    for values in itertools.product(*AXES.values()):
        environment = dict(zip(AXES, values, strict=True))
        yield environment | {
            "implementation_name": "cpython",
            "implementation_version": f"{environment['python_version']}.0",
            "os_name": "posix",
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": PLATFORM_SYSTEM[environment["sys_platform"]],
            "platform_version": "",
            "python_full_version": f"{environment['python_version']}.0",
        }


def needed_in(lock: Lock, environment: dict[str, str]) -> set[str]:
    """Return the names of all releases that the lock's requirements bring along in one environment."""
    seen: set[tuple[str, str]] = set()
    # The empty extra stands for the release itself.
    waiting = deque(
        (canonicalize_name(root.name), extra)
        for root in lock.requirements
        if root.marker is None or root.marker.evaluate(environment | {"extra": ""})
        for extra in ("", *root.extras)
    )
    while waiting:
        name, extra = waiting.popleft()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for requirement in lock.releases[name].requires:
            if requirement.marker is None or requirement.marker.evaluate(environment | {"extra": extra}):
                waiting.extend((canonicalize_name(requirement.name), each) for each in ("", *requirement.extras))
    return {name for name, _ in seen}


def marker_of(present: list[bool]) -> str:
    """Return the shortest marker, by its number of axes, that holds in just these of the environments."""
    if all(present):
        return ""
    points = list(environments())
    for count in range(1, len(AXES) + 1):
        for axes in itertools.combinations(AXES, count):
            within = {tuple(point[axis] for axis in axes) for point, here in zip(points, present, strict=True) if here}
            without = {tuple(point[axis] for axis in axes) for point, here in zip(points, present, strict=True) if not here}
            if within.isdisjoint(without):
                either = [" and ".join(f'{axis} == "{v}"' for axis, v in zip(axes, at, strict=True)) for at in sorted(within)]
                return " or ".join(either)
    raise AssertionError("all axes together tell every environment from every other")


def export(lock: Lock) -> str:
    """Return the requirements file: each release with its marker, where it needs one, and its hashes."""
    needed = [needed_in(lock, environment) for environment in environments()]
    lines = [HEADER]
    for name, release in sorted(lock.releases.items()):
        present = [name in names for names in needed]
        if not any(present):
            continue
        marker = marker_of(present)
        pinned = f"{name}=={release.version}" + (f" ; {marker}" if marker else "")
        lines.append(" \\\n".join([pinned, *(f"    --hash={digest}" for digest in release.hashes)]) + "\n")
    return "".join(lines)


def requirements_of(path: Path) -> list[Requirement]:
    """Return the requirements that a file in pip's format states."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def disagreements_with_requirements(lock: Lock, stated: Iterable[Requirement]) -> Iterator[str]:
    """Yield what 3rdparty/*.txt and the lock don't say alike."""
    of_files = {str(each).lower() for each in stated}
    of_lock = {str(each).lower() for each in lock.requirements}
    for each in sorted(of_files - of_lock):
        yield f"3rdparty/*.txt asks for {each}, which the lock was not resolved for: make lock"
    for each in sorted(of_lock - of_files):
        yield f"the lock was resolved for {each}, which 3rdparty/*.txt doesn't ask for: make lock"


def disagreements_of_package(lock: Lock, metadata: Path, stated: dict[str, Requirement]) -> Iterator[str]:
    """Yield what one package's metadata says otherwise than 3rdparty/requirements.txt or the lock."""
    content = tomllib.loads(metadata.read_text())
    project = content["project"]
    where = metadata.relative_to(ROOT)
    # What goes into other people's images takes their older releases too; the lock's must still do.
    exact = not SpecifierSet(project["requires-python"]).contains("3.10")
    for line in project.get("dependencies", []):
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        if name == "enterprise-gateway-common":
            continue
        if name not in stated:
            yield f"{where} depends on {name}, which is not in 3rdparty/requirements.txt"
        elif exact and requirement.specifier != stated[name].specifier:
            yield f"{where} says {requirement}, 3rdparty/requirements.txt says {stated[name]}"
        elif not requirement.specifier.contains(lock.releases[name].version):
            yield f"{where} says {requirement}, the lock has {lock.releases[name].version}"
    for line in content["build-system"]["requires"]:
        requirement = Requirement(line)
        pin = f"=={lock.releases[canonicalize_name(requirement.name)].version}"
        if requirement.specifier != SpecifierSet(pin):
            yield f"{where} builds with {requirement}, the lock has {pin}: the same sources must make the same wheel"


def disagreements(lock: Lock, exported: Path) -> Iterator[str]:
    """Yield a line for everything that doesn't agree with the lock."""
    folder = ROOT / "3rdparty"
    runtime = requirements_of(folder / "requirements.txt")
    yield from disagreements_with_requirements(lock, [*runtime, *requirements_of(folder / "development.txt")])
    used: set[str] = set()
    for metadata in sorted(ROOT.glob("packages/*/pyproject.toml")):
        yield from disagreements_of_package(lock, metadata, {canonicalize_name(each.name): each for each in runtime})
        dependencies = tomllib.loads(metadata.read_text())["project"].get("dependencies", [])
        used.update(canonicalize_name(Requirement(line).name) for line in dependencies)
    for name in sorted({canonicalize_name(each.name) for each in runtime} - used):
        yield f"3rdparty/requirements.txt asks for {name}, which no package depends on"
    if not exported.exists() or exported.read_text() != export(lock):
        yield f"{exported.relative_to(ROOT)} is not what the lock exports: make lock"


def main() -> int:
    """Write the exported file, or check that everything agrees with the lock."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when something disagrees with the lock")
    check: bool = parser.parse_args().check
    lock = read_lock((ROOT / "3rdparty" / "lock.json").read_text())
    exported = ROOT / "3rdparty" / "constraints.txt"
    if not check:
        exported.write_text(export(lock))
        return 0
    found = list(disagreements(lock, exported))
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

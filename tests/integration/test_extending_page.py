"""docs/extending.md and docs/architecture.md: the files that they name exist, and so do the names that they give."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("extending.md", "architecture.md")
SOURCES = {
    package: ROOT / "packages" / package / "src" / module
    for package, module in (
        ("common", "enterprise_gateway_common"),
        ("gateway", "enterprise_gateway"),
        ("kip", "kernel_image_puller"),
        ("kernel-launchers", "kernel_launchers"),
    )
}
FOLDERS = (
    ROOT,
    ROOT / "deploy" / "helm" / "enterprise-gateway",
    *SOURCES.values(),
    *(path.parents[level] for path in SOURCES.values() for level in (0, 1)),
)


def named_files(page):
    """Return every code span that is a path of a file or folder, without those that stand for a name."""
    spans = re.findall(r"`([\w./*-]+(?:\.(?:py|md|toml|yaml|json)|/|/BUILD))`", (ROOT / "docs" / page).read_text())
    return sorted({span for span in spans if span.strip("/.") and "NNNN" not in span})


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_the_page_names_exists(page):
    missing = [name for name in named_files(page) if not any(list(folder.glob(name.rstrip("/"))) for folder in FOLDERS)]
    assert named_files(page)
    assert [name for name in missing if not list(ROOT.glob(f"packages/*/src/*/**/{name}"))] == []


def test_every_name_of_code_that_the_recipes_give_exists():
    text = "".join(path.read_text() for folder in SOURCES.values() for path in folder.rglob("*.py"))
    page = (ROOT / "docs" / "extending.md").read_text()
    names = set(re.findall(r"`(_?[A-Z][A-Za-z]+[A-Z_]\w*|_[a-z]\w+|[a-z]+_[a-z_]+)`", page))
    assert len(names) > 10
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", text)] == []

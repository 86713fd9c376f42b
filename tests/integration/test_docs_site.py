"""The documentation site: it builds without a warning, its pages load nothing from elsewhere, and its diagrams are drawn."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class _Loaded(HTMLParser):
    """Collects what a browser loads by itself when it shows a page: scripts, styles, pictures, icons."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag in {"script", "img", "iframe", "source"}:
            self.addresses.append(values.get("src") or "")
        elif tag == "link" and values.get("rel") not in {"canonical", "next", "prev"}:
            self.addresses.append(values.get("href") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, str]:
    return {str(path.relative_to(site)): path.read_text() for path in site.rglob("*.html")}


def test_every_page_of_docs_is_a_page_of_the_site(pages):
    written = {str(path.relative_to(ROOT / "docs").with_suffix(".html")) for path in (ROOT / "docs").rglob("*.md")}
    assert written <= set(pages)


def test_pages_load_nothing_from_another_host(pages):
    loaded = _Loaded()
    for text in pages.values():
        loaded.feed(text)
    assert loaded.addresses
    assert not [address for address in loaded.addresses if re.match(r"(\w+:)?//", address)]


def test_styles_load_nothing_from_another_host(site):
    styles = [path.read_text() for path in site.rglob("*.css")]
    assert styles
    assert not [style for style in styles if re.search(r"url\([\"']?(https?:)?//|@import", style)]


def test_diagrams_are_pictures(pages):
    written = (ROOT / "docs" / "architecture.md").read_text().count("```mermaid")
    assert pages["architecture.html"].count('<svg xmlns="http://www.w3.org/2000/svg" role="img"') == written > 0
    assert not [name for name, text in pages.items() if "sequenceDiagram" in text]


def test_diagrams_have_every_word_of_their_source(pages):
    source = (ROOT / "docs" / "architecture.md").read_text()
    said = re.findall(r"(?:>>\w+|Note over [\w,]+): ?(.+)|participant \w+ as (.+)", source)
    words = [part for each in said for text in each for part in text.split("<br/>") if part]
    assert len(words) > 30
    assert not [part for part in words if f">{html.escape(part)}</text>" not in pages["architecture.html"]]


def test_a_link_to_a_page_beside_the_code_leads_to_that_page(pages):
    assert 'href="repository/packages/kip/index.html"' in pages["kip.html"]
    assert 'href="../../../kip.html"' in pages["repository/packages/kip/index.html"]


def test_a_link_to_a_file_that_is_no_page_is_its_path(pages):
    assert "<code>deploy/kubernetes/enterprise-gateway.yaml</code>" in pages["install.html"]


def test_a_line_of_a_diagram_that_is_not_understood_ends_the_build():
    program = "from sequence_diagram import draw; draw('sequenceDiagram\\nparticipant A\\nactivate A\\n')"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT / "build-support", check=False, capture_output=True, text=True
    )
    assert ended.returncode != 0
    assert "This line of a diagram isn't understood: activate A" in ended.stderr


def test_decisions_are_numbered_without_a_gap_and_all_listed():
    files = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [int(name[:4]) for name in files] == list(range(1, len(files) + 1))
    index = (ROOT / "docs" / "decisions" / "index.md").read_text()
    navigation = (ROOT / "mkdocs.yml").read_text()
    for name in files:
        assert f"[{int(name[:4])}]({name})" in index
        assert f"decisions/{name}" in navigation
        assert (ROOT / "docs" / "decisions" / name).read_text().startswith(f"# {int(name[:4])}. ")

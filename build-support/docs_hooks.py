"""What the documentation site does beyond MkDocs: pages from beside the code, and diagrams as pictures.

A README that describes a folder lies in that folder. Here it becomes a page `repository/<its path>`, and every link
between such pages and those of docs/ leads to the page. A link to any other file of the repository becomes its path: the
site doesn't know where the repository is published. A link to a file that doesn't exist is left to MkDocs, which ends
the build.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

# MkDocs loads this file by its path and leaves its folder out of where Python looks.
sys.path.insert(0, str(Path(__file__).parent))

from sequence_diagram import draw  # found by the line above

__all__ = ["on_files", "on_page_markdown"]

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "repository/"
PAGES = (
    "CONTRIBUTING.md",
    "SECURITY.md",
    "deploy/helm/enterprise-gateway/README.md",
    "deploy/images/README.md",
    "deploy/kernelspecs/README.md",
    "tests/bench/README.md",
    *(
        f"packages/{name}/{page}.md"
        for name in ("gateway", "kip", "kernel-launchers", "common")
        for page in ("README", "CHANGELOG")
    ),
)

_FENCE = re.compile(r"^(`{3,})[^\n]*\n.*?^\1\s*$", re.MULTILINE | re.DOTALL)
_DIAGRAM = re.compile(r"^```mermaid\n(sequenceDiagram\n.*?)^```\s*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside of docs/."""
    for path in PAGES:
        files.append(File.generated(config, PREFIX + path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  MkDocs' own signature
    """Return a page's text with its diagrams drawn and its links leading to pages of the site."""
    uri = page.file.src_uri
    drawn = _DIAGRAM.sub(lambda match: draw(match.group(1)), markdown)
    parts, end = [], 0
    for fence in _FENCE.finditer(drawn):
        parts += [_with_links(drawn[end : fence.start()], uri), fence.group()]
        end = fence.end()
    return "".join([*parts, _with_links(drawn[end:], uri)])


def _with_links(text: str, uri: str) -> str:
    return _LINK.sub(lambda match: _link(match.group(1), match.group(2), uri), text)


def _link(label: str, target: str, uri: str) -> str:
    path, hash_, anchor = target.partition("#")
    if not path or ":" in path:
        return f"[{label}]({target})"
    source = uri.removeprefix(PREFIX) if uri.startswith(PREFIX) else f"docs/{uri}"
    found = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if found in PAGES:
        page = PREFIX + found
    elif found.startswith("docs/") and found.endswith(".md"):
        page = found.removeprefix("docs/")
    elif (ROOT / found).exists() and not found.startswith(".."):
        return f"`{found}`" if label.strip("`") in {found, path} else f"{label} (`{found}`)"
    else:
        return f"[{label}]({target})"
    return f"[{label}]({posixpath.relpath(page, posixpath.dirname(uri) or '.')}{hash_}{anchor})"

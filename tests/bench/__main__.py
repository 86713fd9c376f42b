"""Run the benchmarks one after another: `python -m tests.bench [NAME ...] [--quick]`.

Each is a program of its own (`python -m tests.bench.NAME`) and runs in a process of its own, so that none meets what another
left in memory. Names may be shortened to their beginning: `gateway` runs all that begin so.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent


def _runs(path: Path) -> bool:
    """Tell whether a file is a benchmark: a helper has no `main`."""
    return any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in ast.parse(path.read_text("utf-8")).body)


def main() -> int:
    names = sorted(path.stem for path in _FOLDER.glob("[!_]*.py") if _runs(path))
    parser = argparse.ArgumentParser(description="Measure against the peers; docs/performance.md says how to read it.")
    parser.add_argument("name", nargs="*", help=f"one of {', '.join(names)}, or the beginning of some; all without one")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: to see that it works, not to quote")
    options = parser.parse_args()
    chosen = [name for name in names if not options.name or name.startswith(tuple(options.name))]
    if not chosen:
        parser.error(f"no benchmark begins with {' or '.join(options.name)}; there are {', '.join(names)}")
    failed = []
    for name in chosen:
        print(f"\n## {name}", flush=True)
        command = [sys.executable, "-m", f"tests.bench.{name}", *(["--quick"] if options.quick else [])]
        if subprocess.run(command, cwd=_FOLDER.parents[1], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

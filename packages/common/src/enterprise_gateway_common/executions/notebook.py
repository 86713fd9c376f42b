"""Executions as other programs read them: a description of each, and a notebook of all."""

import re
from datetime import datetime, timezone
from itertools import chain, count
from typing import Any, Callable, Dict, Iterable, List, Optional, Set

from enterprise_gateway_common.executions.execution import Execution

__all__ = ["describe", "notebook"]

_CELL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_METADATA_KEY = "enterprise_gateway"


def describe(execution: Execution) -> Dict[str, Any]:
    """Return everything about an execution but its outputs, as JSON values."""
    return {
        "msg_id": execution.msg_id,
        "state": execution.state,
        "code": execution.code,
        "execution_count": execution.execution_count,
        "silent": execution.silent,
        "metadata": execution.metadata,
        "requested": _moment(execution.requested),
        "started": _moment(execution.started),
        "ended": _moment(execution.ended),
        "truncated": execution.truncated,
    }


def notebook(
    executions: Iterable[Execution],
    *,
    kernelspec: Dict[str, str],
    outputs: Callable[[Execution], List[Dict[str, Any]]] = Execution.outputs,
) -> Dict[str, Any]:
    """Return a notebook of format 4.5 with a code cell for each execution; programs' silent ones are left out.

    Parameters
    ----------
    kernelspec
        The notebook's `metadata.kernelspec`.
    outputs
        Returns what is shown of an execution's outputs.
    """
    ids: Set[str] = set()
    cells = [_cell(execution, ids, outputs(execution)) for execution in executions if not execution.silent]
    return {"cells": cells, "metadata": {"kernelspec": kernelspec}, "nbformat": 4, "nbformat_minor": 5}


def _cell(execution: Execution, ids: Set[str], outputs: List[Dict[str, Any]]) -> Dict[str, Any]:
    about = describe(execution)
    return {
        "id": _cell_id(execution, ids),
        "cell_type": "code",
        "execution_count": about.pop("execution_count"),
        "metadata": {_METADATA_KEY: {key: value for key, value in about.items() if key not in {"code", "silent"}}},
        "source": about["code"],
        "outputs": outputs,
    }


def _cell_id(execution: Execution, ids: Set[str]) -> str:
    """Return the id of the cell in its own notebook, unless another cell here has it: a cell may run twice."""
    numbered = (f"execution-{number}" for number in count(1))
    candidates = chain((execution.metadata.get("cellId"), execution.msg_id), numbered)
    chosen = next(one for one in candidates if isinstance(one, str) and one not in ids and _CELL_ID.fullmatch(one))
    ids.add(chosen)
    return chosen


def _moment(seconds: Optional[float]) -> Optional[str]:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

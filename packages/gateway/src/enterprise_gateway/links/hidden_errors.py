"""What stands in place of an error of user code, for installations that must not show its details."""

__all__ = ["hidden_error"]


def hidden_error(replacement: str) -> dict[str, object]:
    """Return the content of an error message without name, value and traceback of the user's own error."""
    return {"ename": "ExecutionError", "evalue": "Execution error", "traceback": [replacement]}

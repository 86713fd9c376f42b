"""What clients send and get, declared once: requests are validated by these types, the OpenAPI document shows them.

A field of a request that isn't declared is an error: a mistyped name would otherwise be a default, silently. Those that
known clients send and nothing here needs are declared too: JupyterLab repeats the `id` of a session that it changes, and
clients generated from Jupyter's own API description send a kernel's or a session's whole model back.
"""

import difflib
import re
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

__all__ = [
    "ApiModel",
    "ErrorModel",
    "ExecutionModel",
    "ExecutionOutputsModel",
    "InvalidBody",
    "KernelModel",
    "KernelspecModel",
    "KernelspecsModel",
    "NewExecution",
    "NewKernel",
    "NewSession",
    "SessionChange",
    "SessionKernel",
    "SessionModel",
    "StateModel",
    "decode",
]

T = TypeVar("T")

_Name = Annotated[str, Meta(max_length=1024)]
_Env = Annotated[dict[str, str], Meta(description="KERNEL_* variables, and others that the administrator lets through.")]
_Moment = Annotated[str, Meta(description="UTC with microseconds.")]
_Ignored = Annotated[Any, Meta(description="Accepted, because clients send it, and not used.")]


class InvalidBody(ValueError):
    """A body isn't of the shape that is wanted; the text names the place and never repeats a value."""


class NewKernel(Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /api/kernels."""

    name: Annotated[str | None, Meta(description="Name of a kernelspec; the default one where it is absent.")] = None
    path: Annotated[str | None, Meta(description="Accepted and not used: a client's folders aren't the gateway's.")] = None
    env: _Env = {}
    kernel_id: Annotated[
        str | None, Meta(description="The kernel's id, a UUID of version 4; the same as KERNEL_ID in `env`.")
    ] = None


class SessionKernel(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which kernel a session is to have: a new one by its kernelspec's name, or a running one by its id."""

    id: str | None = None
    name: str | None = None
    env: _Env = {}
    last_activity: _Ignored = None
    execution_state: _Ignored = None
    connections: _Ignored = None
    reason: _Ignored = None
    traceback: _Ignored = None


class NewSession(Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /api/sessions."""

    path: _Name
    type: _Name
    name: _Name = ""
    kernel: SessionKernel = msgspec.field(default_factory=SessionKernel)
    env: _Env = {}
    id: _Ignored = None
    notebook: _Ignored = None


class SessionChange(Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of PATCH /api/sessions/{id}; what is absent stays."""

    path: _Name | None = None
    type: _Name | None = None
    name: _Name | None = None
    kernel: SessionKernel | None = None
    id: _Ignored = None
    notebook: _Ignored = None


class NewExecution(Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /api/kernels/{kernel_id}/executions."""

    code: Annotated[str, Meta(description="What to run.")]
    silent: Annotated[bool, Meta(description="Run it without a prompt number, and without showing its value.")] = False
    store_history: Annotated[bool, Meta(description="Let the kernel's history have it.")] = True
    stop_on_error: Annotated[bool, Meta(description="Skip what waits behind it where it fails.")] = True
    metadata: Annotated[dict[str, Any], Meta(description="Kept with the execution, such as a `cellId`.")] = {}


class KernelUsageModel(Struct, kw_only=True):
    """What a kernel's container uses, measured every ten seconds; null for what isn't known, and where there is no limit."""

    memory_bytes: Annotated[int | None, Meta(description="Without files that the node keeps in memory until it is wanted.")]
    memory_limit_bytes: int | None
    cpu_cores: Annotated[float | None, Meta(description="Mean over some ten seconds: 0.5 is half of one core.")]
    cpu_limit_cores: float | None


class KernelModel(Struct, kw_only=True):
    """A kernel."""

    id: str
    name: str
    last_activity: Annotated[str, Meta(description="UTC with microseconds: 2026-01-01T00:00:00.000000Z.")]
    execution_state: Annotated[str, Meta(description="starting, idle, busy, restarting or dead.")]
    connections: int
    reason: Annotated[
        str | None, Meta(description="Why it is restarting or dead, or what it waits for while it starts; absent otherwise.")
    ] = None
    usage: Annotated[KernelUsageModel | None, Meta(description="Absent of kernels that nobody measures.")] = None


class ExecutionModel(Struct, kw_only=True):
    """A request to run code, and what became of it."""

    msg_id: Annotated[str, Meta(description="Id of the request's message.")]
    state: Annotated[str, Meta(description="queued, running, ok, error or aborted.")]
    code: str
    execution_count: int | None
    silent: bool
    metadata: Annotated[dict[str, Any], Meta(description="Whatever the client put into the request's metadata.")]
    requested: _Moment
    started: _Moment | None
    ended: _Moment | None
    truncated: Annotated[bool, Meta(description="Whether something of its code, metadata or outputs isn't kept any more.")]


class ExecutionOutputsModel(ExecutionModel, kw_only=True):
    """An execution with its outputs."""

    outputs: Annotated[list[dict[str, Any]], Meta(description="As in a notebook of nbformat 4.")]


class SessionModel(Struct, kw_only=True):
    """A session: a document and its kernel."""

    id: str
    path: str
    name: str
    type: str
    kernel: KernelModel
    notebook: dict[str, str] | None = None


class KernelspecModel(Struct, kw_only=True):
    """A kernelspec."""

    name: str
    spec: dict[str, Any]
    resources: dict[str, str]


class KernelspecsModel(Struct, kw_only=True):
    """Every kernelspec, and which one is the default."""

    default: str
    kernelspecs: dict[str, KernelspecModel]


class ApiModel(Struct, kw_only=True):
    """Versions."""

    version: Annotated[str, Meta(description="Version of Jupyter's REST API that is spoken.")]
    gateway_version: str


class StateModel(Struct, kw_only=True):
    """Whether the gateway lives or can take requests."""

    status: str
    problems: list[str] = []


class ErrorModel(Struct, kw_only=True):
    """Why a request failed."""

    reason: str
    message: str


def decode(body: bytes, model: type[T]) -> T:
    """Return a body as the value that it must be.

    Raises
    ------
    InvalidBody
        It is JSON and not of this shape; the text names the place.
    ValueError
        It isn't JSON.
    """
    try:
        return msgspec.json.decode(body, type=model)
    except msgspec.ValidationError as error:
        raise InvalidBody(_explained(str(error), body, model)) from error


# How msgspec writes a place among the values of an object: it doesn't say which.
_UNNAMED_VARIABLE = "env[...]"
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(?P<name>.*?)`(?: - at `\$\.(?P<object>\w+)`)?", re.DOTALL)
_JSON_TYPES = {bool: "bool", int: "int", float: "float", type(None): "null", list: "array", dict: "object"}
_LONGEST_SHOWN = 64


def _explained(text: str, body: bytes, model: type) -> str:
    """Return msgspec's text with what it leaves out: the variable's name, and the field that was meant."""
    if _UNNAMED_VARIABLE in text:
        return _with_variable(text, msgspec.json.decode(body))
    if unknown := _UNKNOWN_FIELD.fullmatch(text):
        return _with_nearest(unknown["name"], unknown["object"] or "", model)
    return text


def _with_variable(text: str, body: Any) -> str:  # noqa: ANN401  any JSON value
    for key in ("kernel", "env") if "kernel.env" in text else ("env",):
        body = body.get(key) if isinstance(body, dict) else None
    for name, value in body.items() if isinstance(body, dict) else ():
        if not isinstance(value, str):
            place = text.partition("`$.")[2].replace(_UNNAMED_VARIABLE, f"env.{_shown(name)}")
            return f"Expected `str`, got `{_JSON_TYPES[type(value)]}` - at `$.{place}"
    # The same name stands there twice, and the later one hides the wrong value.
    return text


def _with_nearest(name: str, inside: str, model: type) -> str:
    owner = SessionKernel if inside == "kernel" else model
    fields = [field.name for field in msgspec.structs.fields(owner) if field.type is not _Ignored]
    near = difflib.get_close_matches(name[:_LONGEST_SHOWN].lower(), fields, n=1)
    known = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(f'`{field}`' for field in fields)}"
    place = f"`$.{inside}`" if inside else "`$`"
    return f"Unknown field `{_shown(name)}` in {place}; {known}"


def _shown(name: str) -> str:
    return name[:_LONGEST_SHOWN].encode("unicode_escape").decode()

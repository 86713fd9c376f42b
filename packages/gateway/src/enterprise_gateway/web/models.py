"""What clients send and get, declared once: requests are validated by these types, the OpenAPI document shows them."""

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

__all__ = [
    "ApiModel",
    "ErrorModel",
    "KernelModel",
    "KernelspecModel",
    "KernelspecsModel",
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


class NewKernel(Struct, kw_only=True):
    """Body of POST /api/kernels."""

    name: Annotated[str | None, Meta(description="Name of a kernelspec; the default one where it is absent.")] = None
    path: Annotated[str | None, Meta(description="Accepted and not used: a client's folders aren't the gateway's.")] = None
    env: _Env = {}


class SessionKernel(Struct, kw_only=True):
    """Which kernel a session is to have: a new one by its kernelspec's name, or a running one by its id."""

    id: str | None = None
    name: str | None = None
    env: _Env = {}


class NewSession(Struct, kw_only=True):
    """Body of POST /api/sessions."""

    path: _Name
    type: _Name
    name: _Name = ""
    kernel: SessionKernel = msgspec.field(default_factory=SessionKernel)
    env: _Env = {}


class SessionChange(Struct, kw_only=True):
    """Body of PATCH /api/sessions/{id}; what is absent stays."""

    path: _Name | None = None
    type: _Name | None = None
    name: _Name | None = None
    kernel: SessionKernel | None = None


class KernelModel(Struct, kw_only=True):
    """A kernel."""

    id: str
    name: str
    last_activity: Annotated[str, Meta(description="UTC with microseconds: 2026-01-01T00:00:00.000000Z.")]
    execution_state: Annotated[str, Meta(description="starting, idle, busy, restarting or dead.")]
    connections: int
    reason: Annotated[str | None, Meta(description="Why it is restarting or dead; absent otherwise.")] = None


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
    ValueError
        It isn't JSON, or not of this shape; the text names the place.
    """
    return msgspec.json.decode(body, type=model)

"""Asks the supervisor of a pod when it waits for a claim."""

import asyncio
from typing import TYPE_CHECKING, Any

from enterprise_gateway.launch.supervisor_address import SupervisorAddress
from enterprise_gateway.links.supervisor.connection import SupervisorConnection
from enterprise_gateway_common.supervisor_protocol import VERSIONS, KernelPhase, Kind, MalformedFrames, decode, encode

if TYPE_CHECKING:
    import zmq

__all__ = ["phase_of"]


async def phase_of(
    address: SupervisorAddress, *, context: "zmq.Context[zmq.Socket[bytes]]", replica: str, seconds: float
) -> KernelPhase | None:
    """Return what a supervisor says of its kernel once that isn't prepared any more; `None` where nothing comes in time.

    Raises
    ------
    Unavailable
        This process can't have another connection.
    """
    answer: asyncio.Future[KernelPhase | None] = asyncio.get_running_loop().create_future()

    def received(frames: list[bytes]) -> None:
        phase = _phase(frames)
        if phase is not KernelPhase.PREPARING and not answer.done():
            answer.set_result(phase)

    connection = SupervisorConnection(
        context=context,
        address=address,
        received=received,
        stands=lambda: connection.send(encode(Kind.HELLO, {"versions": VERSIONS, "replica": replica})),
        broke=lambda: None,
    )
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except TimeoutError:
        return None
    finally:
        connection.close()


def _phase(frames: list[bytes]) -> KernelPhase | None:
    try:
        kind, fields, _ = decode(frames)
        state: Any = fields if kind is Kind.STATE else fields["state"] if kind is Kind.WELCOME else {"phase": "preparing"}
        return KernelPhase(state["phase"])
    except (MalformedFrames, KeyError, TypeError, ValueError):
        return None

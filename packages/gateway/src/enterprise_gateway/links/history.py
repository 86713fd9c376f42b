"""What a kernel ran before this process heard of it, read from the log that its supervisor keeps."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from enterprise_gateway.links.messages import KernelMessage, PageItem
from enterprise_gateway_common.executions.recorder import ExecutionRecorder
from enterprise_gateway_common.message_log import Gap, Position
from enterprise_gateway_common.supervisor_protocol import NO_SESSION

__all__ = ["History", "record", "record_request"]


class _Dated(msgspec.Struct):
    date: str = ""


_decode_date = msgspec.json.Decoder(_Dated).decode


def record(recorder: ExecutionRecorder, message: KernelMessage) -> None:
    """Have a recorder take note of a message of the kernel."""
    parent = message.parent
    recorder.seen(
        message.channel,
        message.header.msg_type,
        parent_id=parent.msg_id,
        parent_type=parent.msg_type,
        content=message.parts[3],
        by_kernel=not message.by_gateway,
    )


def record_request(recorder: ExecutionRecorder, message: KernelMessage) -> None:
    """Have a recorder take note of a request to the kernel."""
    _, _, metadata, content, *_ = message.parts
    recorder.requested(message.header.msg_type, message.header.msg_id, content=content, metadata=metadata)


class _MessageClock:
    """Tells the time of the message that is recorded, and that of the day once all were."""

    def __init__(self) -> None:
        self._moment: float | None = None

    def __call__(self) -> float:
        return time.time() if self._moment is None else self._moment

    def set_by(self, message: KernelMessage | None) -> None:
        self._moment = None if message is None else _moment(message.parts[0])


def _moment(header: bytes) -> float | None:
    try:
        moment = datetime.fromisoformat(_decode_date(header).date)
    except (ValueError, msgspec.DecodeError):
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


class History:
    """Records a whole log once, whoever asks for it how often.

    Parameters
    ----------
    ask
        Has somebody told what stands in the log from a position on, as far as a page goes; nothing where nothing does.
    """

    def __init__(self, *, ask: Callable[[Position, Callable[[list[PageItem]], None]], None]) -> None:
        self._ask = ask
        self._turn = asyncio.Lock()
        self._known = ""

    async def _page(self, position: Position) -> list[PageItem]:
        arrived: asyncio.Future[list[PageItem]] = asyncio.get_running_loop().create_future()

        def take(items: list[PageItem]) -> None:
            if not arrived.done():
                arrived.set_result(items)

        self._ask(position, take)
        return await arrived

    async def record(
        self,
        *,
        epoch: str,
        begin: Position,
        end: Callable[[], Position],
        make_recorder: Callable[[Callable[[], float]], ExecutionRecorder],
    ) -> ExecutionRecorder | None:
        """Return a record of everything from the beginning of the log to its end; nothing where it was made already."""
        async with self._turn:
            if self._known == epoch:
                return None
            clock, position = _MessageClock(), begin
            recorder = make_recorder(clock)
            # What is said meanwhile is read as well: between the last page and the return nothing can be.
            while position.number < end().number and (items := await self._page(position)):
                for item, _, behind in items:
                    position = behind
                    if not isinstance(item, Gap):
                        clock.set_by(item)
                        (record_request if item.recipient == NO_SESSION else record)(recorder, item)
            clock.set_by(None)
            self._known = epoch
            return recorder

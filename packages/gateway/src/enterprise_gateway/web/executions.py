"""/api/kernels/{kernel_id}/executions: what a kernel ran, also before the caller came, and running more."""

import json
import logging
from contextlib import aclosing
from http import HTTPStatus
from typing import Any, ClassVar

import msgspec
from tornado.iostream import StreamClosedError

from enterprise_gateway.errors import BadRequest, Unavailable
from enterprise_gateway.kernels.executions import CodeToRun, Executions, KernelRecord
from enterprise_gateway.kernels.output_changes import Event
from enterprise_gateway.web.answer_budget import AnswerBudget, Share
from enterprise_gateway.web.base import Edge
from enterprise_gateway.web.kernels import StartingHandler
from enterprise_gateway.web.models import ErrorModel, ExecutionModel, ExecutionOutputsModel, NewExecution
from enterprise_gateway.web.operations import Operation, QueryParameter
from enterprise_gateway_common.executions.execution import Execution
from enterprise_gateway_common.executions.notebook import describe

__all__ = ["ExecutionHandler", "ExecutionsHandler"]

_log = logging.getLogger(__name__)

_TAG = "executions"
_NOTEBOOK = "application/x-ipynb+json"
_EVENTS = "text/event-stream"
_ERRORS = dict.fromkeys((401, 403, 404, 501, 503), ErrorModel)
_FOLLOW = {"": False, "false": False, "0": False, "true": True, "1": True}


class _ExecutionsHandler(StartingHandler):
    def initialize(self, *, edge: Edge, executions: Executions, budget: AnswerBudget) -> None:  # type: ignore[override]  # each handler names its services
        super().initialize(edge=edge)
        self._executions, self._budget = executions, budget

    @property
    def _wants_notebook(self) -> bool:
        accepted = self.request.headers.get("Accept", "").lower().split(",")
        return _NOTEBOOK in (kind.partition(";")[0].strip() for kind in accepted)

    async def _write(self, value: object, content_type: str = "application/json") -> None:
        body = _encoded(value)
        with self._budget.share() as share:
            share.resize(len(body))
            self.set_header("Content-Type", content_type)
            self.set_header("Vary", "Accept")
            self.set_header("Cache-Control", "no-store")
            try:
                await self.finish(body)
            except StreamClosedError:
                # The client went away, which is its right.
                return

    async def _write_notebook(self, record: KernelRecord, executions: list[Execution]) -> None:
        await self._write(record.notebook(executions), _NOTEBOOK)


class ExecutionsHandler(_ExecutionsHandler):
    """All executions of a kernel."""

    operations: ClassVar = {
        "get": Operation(
            summary="List what a kernel ran, as JSON or as a notebook",
            responses={200: list[ExecutionModel], **_ERRORS},
            other_content_types=(_NOTEBOOK,),
            tag=_TAG,
        ),
        "post": Operation(
            summary="Run code without a websocket; answers before it has run",
            request=NewExecution,
            responses={202: ExecutionModel, **_ERRORS, **dict.fromkeys((400, 409, 413, 415), ErrorModel)},
            tag=_TAG,
        ),
    }

    async def get(self, kernel_id: str) -> None:
        """Answer with every execution, without outputs; or with a notebook of all."""
        record = await self._executions.of(kernel_id, self.identity)
        if self._wants_notebook:
            await self._write_notebook(record, record.all())
        else:
            await self._write([describe(execution) for execution in record.all()])

    async def post(self, kernel_id: str) -> None:
        """Have the kernel run code."""
        body = self.body_as(NewExecution)
        request = CodeToRun(
            code=body.code,
            silent=body.silent,
            store_history=body.store_history,
            stop_on_error=body.stop_on_error,
            metadata=body.metadata,
        )
        execution = await self.until_client_leaves(self._executions.run(kernel_id, request, self.identity))
        self.set_status(HTTPStatus.ACCEPTED)
        self.set_header("Location", f"{self.edge.base_url}api/kernels/{kernel_id}/executions/{execution.msg_id}")
        await self._write(describe(execution))


class ExecutionHandler(_ExecutionsHandler):
    """One execution."""

    operations: ClassVar = {
        "get": Operation(
            summary="Look at an execution and its outputs, as JSON, as a notebook, or as events until it has ended",
            responses={200: ExecutionOutputsModel, 400: ErrorModel, **_ERRORS},
            query=(QueryParameter(name="follow", description="`true`: send events (text/event-stream) until it has ended."),),
            other_content_types=(_NOTEBOOK, _EVENTS),
            tag=_TAG,
        )
    }

    async def get(self, kernel_id: str, msg_id: str) -> None:
        """Answer with one execution as it is now, or follow it."""
        follow = _FOLLOW.get(self.get_query_argument("follow", "").lower())
        if follow is None:
            raise BadRequest("The parameter 'follow' must be true or false.")
        record = await self._executions.of(kernel_id, self.identity)
        execution = record.get(msg_id)
        if follow:
            await self.until_client_leaves(self._follow(record, execution))
        elif self._wants_notebook:
            await self._write_notebook(record, [execution])
        else:
            await self._write(record.model(execution))

    async def _follow(self, record: KernelRecord, execution: Execution) -> None:
        self.set_header("Content-Type", _EVENTS)
        self.set_header("Cache-Control", "no-store")
        # nginx would gather events in its buffer.
        self.set_header("X-Accel-Buffering", "no")
        if self.request.method == "HEAD":
            await self.finish()
            return
        try:
            with self._budget.share() as share:
                await self._send_events(record, execution, share)
        except StreamClosedError:
            # The client went away, which is its right.
            return
        except Unavailable:
            # Its end is missing, so the client knows that there is more, and may come again.
            _log.warning("Somebody who follows an execution reads too slowly, and is disconnected")
        await self.finish()

    async def _send_events(self, record: KernelRecord, execution: Execution, share: Share) -> None:
        async with aclosing(record.follow(execution)) as events:
            async for event in events:
                body = _as_event(event)
                # What was shown is remembered for as long as it takes to find what is new.
                share.resize(execution.output_size + len(body))
                self.write(body)
                await self.flush()


def _as_event(event: Event | None) -> bytes:
    if event is None:
        return b": still running\n\n"
    name, data = event
    return b"event: %s\ndata: %s\n\n" % (name.encode(), _encoded(data))


def _encoded(value: Any) -> bytes:  # noqa: ANN401  any JSON value
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        # Half of a character that takes two in JavaScript: kernels and browsers send such, and JSON can say it escaped.
        return json.dumps(value).encode()

"""What machines ask of the gateway: versions, whether it lives, whether it is ready, and its metrics."""

from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import ClassVar

from prometheus_client import CONTENT_TYPE_LATEST

from enterprise_gateway import __version__
from enterprise_gateway.errors import NotFound
from enterprise_gateway.web.base import Edge, JsonHandler
from enterprise_gateway.web.models import ApiModel, ErrorModel, StateModel
from enterprise_gateway.web.operations import Operation

__all__ = ["ApiHandler", "LiveHandler", "MetricsHandler", "NotFoundHandler", "OpenMetricsHandler", "ReadyHandler"]

# The Jupyter Server whose REST API the answers are those of.
_JUPYTER_SERVER_VERSION = "2.21.1"


class ApiHandler(JsonHandler):
    """Versions."""

    operations: ClassVar = {
        "get": Operation(summary="Versions", responses={200: ApiModel, 304: None, 401: ErrorModel, 403: ErrorModel})
    }

    def get(self) -> None:
        """Answer with the versions of the API and of the gateway."""
        self.write_json({"version": _JUPYTER_SERVER_VERSION, "gateway_version": __version__})


class LiveHandler(JsonHandler):
    """Whether the event loop turns: that this is answered at all says it."""

    operations: ClassVar = {"get": Operation(summary="Does it live", responses={200: StateModel, 304: None}, public=True)}

    def get(self) -> None:
        """Answer at once."""
        self.write_json({"status": "alive", "problems": []})


class ReadyHandler(JsonHandler):
    """Whether the gateway can take requests."""

    operations: ClassVar = {
        "get": Operation(summary="Can it take requests", responses={200: StateModel, 304: None, 503: StateModel}, public=True)
    }

    def initialize(self, *, edge: Edge, problems: Callable[[], list[str]]) -> None:  # type: ignore[override]  # each handler names its services
        """Take the question of what is missing."""
        super().initialize(edge=edge)
        self._problems = problems

    def get(self) -> None:
        """Answer 200 when nothing is missing, else 503 with what is."""
        problems = self._problems()
        if problems:
            self.write_json({"status": "not ready", "problems": problems}, HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            self.write_json({"status": "ready", "problems": []})


_METRICS = Operation(
    summary="Metrics for Prometheus",
    responses={200: None, 304: None, 401: ErrorModel, 403: ErrorModel},
    content_type="text/plain",
)


class MetricsHandler(JsonHandler):
    """Prometheus' metrics, for who has the token."""

    operations: ClassVar = {"get": _METRICS}

    def get(self) -> None:
        """Answer with all metrics."""
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(self.edge.metrics.exposition())


class OpenMetricsHandler(MetricsHandler):
    """Prometheus' metrics, for everybody: where the administrator opened them."""

    operations: ClassVar = {"get": replace(_METRICS, public=True)}


class NotFoundHandler(JsonHandler):
    """Everything else, whatever the method."""

    def _admit(self) -> None:
        if self.request.method != "OPTIONS":
            raise NotFound(f"There is nothing at this path. {self.where_the_api_is_described}")

"""The HTTP application: every route, and what is written of every request."""

import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from tornado.web import Application, RequestHandler

from enterprise_gateway.metrics import GatewayMetrics
from enterprise_gateway.web.base import Edge, JsonHandler
from enterprise_gateway.web.health import NotFoundHandler
from enterprise_gateway.web.openapi import OpenApiDocument, OpenApiHandler
from enterprise_gateway.web.routes import Route

__all__ = ["make_application"]

_log = logging.getLogger(__name__)

# Asked every few seconds by machines; a line for each would bury the others.
_QUIET = ("/livez", "/readyz", "/healthz", "/metrics")
_OPENAPI_PATHS = ("/api/openapi.json", "/api/swagger.json", "/api/swagger.yaml")


def make_application(*, routes: Iterable[Route], edge: Edge, settings: Mapping[str, Any]) -> Application:
    """Return the application that serves the routes, their OpenAPI document, and 404 in JSON for all else.

    Parameters
    ----------
    settings
        Passed to tornado: those of its websockets.
    """
    served = [*routes]
    document = OpenApiDocument(routes=served, base_url=edge.base_url, token_needed=not edge.access.open)
    served += [Route(path=path, handler=OpenApiHandler, services={"document": document}) for path in _OPENAPI_PATHS]
    handlers: list[tuple[str, type[RequestHandler], dict[str, Any]]] = [
        (route.pattern(edge.base_url), route.handler, _arguments(route, edge)) for route in served
    ]
    names = {route.handler: route.path for route in served}
    return Application(
        [*handlers, (r".*", NotFoundHandler, {"edge": edge})],
        log_function=_RequestLog(metrics=edge.metrics, names=names),
        **settings,
    )


def _arguments(route: Route, edge: Edge) -> dict[str, Any]:
    # A websocket's handler has its own way to refuse a request, so it takes nothing of the HTTP handlers'.
    return {"edge": edge, **route.services} if issubclass(route.handler, JsonHandler) else dict(route.services)


class _RequestLog:
    """Writes one line for each request and counts it; the query, which may hold a token, is never written."""

    def __init__(self, *, metrics: GatewayMetrics, names: Mapping[type[RequestHandler], str]) -> None:
        self._metrics = metrics
        self._names = names

    def __call__(self, handler: RequestHandler) -> None:
        request, status = handler.request, handler.get_status()
        seconds = request.request_time()
        route = self._names.get(type(handler), "other")
        # Whatever a client calls its method must not make a time series of its own.
        method = request.method if request.method in RequestHandler.SUPPORTED_METHODS else "other"
        self._metrics.request_finished(method, route, status, seconds)
        level = logging.INFO
        if request.path.endswith(_QUIET):
            level = logging.DEBUG
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            level = logging.ERROR
        elif request.method in {"GET", "HEAD", "OPTIONS"}:
            level = logging.DEBUG
        fields = {
            "method": request.method,
            "path": handler.logged_path if isinstance(handler, JsonHandler) else request.path,
            "status": status,
            "milliseconds": round(seconds * 1000, 1),
            "client": request.remote_ip,
            "request_id": request.headers.get("X-Request-ID", "")[:128] or None,
        }
        _log.log(level, "Request", extra=fields)

"""The OpenAPI 3.1 document of the REST API, made of what the routes declare, and its two older addresses."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from http import HTTPStatus
from typing import Any, ClassVar

import msgspec

from enterprise_gateway import __version__
from enterprise_gateway.web.base import Edge, JsonHandler
from enterprise_gateway.web.operations import Operation
from enterprise_gateway.web.routes import Route

__all__ = ["OpenApiDocument", "OpenApiHandler"]

_REFERENCES = "#/components/schemas/{name}"


class OpenApiDocument:
    """The document, made when it is first asked for.

    Parameters
    ----------
    routes
        Every route of the application.
    base_url
        Path below which they are served.
    token_needed
        Whether requests must carry a token.
    """

    def __init__(self, *, routes: Iterable[Route], base_url: str, token_needed: bool) -> None:
        self._routes = tuple(route for route in routes if route.described)
        self._base_url = base_url
        self._token_needed = token_needed

    @cached_property
    def document(self) -> dict[str, Any]:
        """The document as JSON values."""
        operations = [(route, method, operation) for route in self._routes for method, operation in route.operations.items()]
        models = [
            model for _, _, operation in operations for model in (operation.request, *operation.responses.values()) if model
        ]
        _, components = msgspec.json.schema_components(models, ref_template=_REFERENCES)
        paths: dict[str, dict[str, Any]] = {}
        for route, method, operation in operations:
            paths.setdefault(route.path, {})[method] = self._operation(route, method, operation)
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "Enterprise Gateway",
                "version": __version__,
                "description": "Starts Jupyter kernels in a cluster and carries their messages. The websocket of a kernel is at "
                "/api/kernels/{kernel_id}/channels.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": self._base_url.rstrip("/") or "/"}],
            "paths": paths,
            "components": {"schemas": components, "securitySchemes": _SECURITY_SCHEMES},
        }

    def _operation(self, route: Route, method: str, operation: Operation) -> dict[str, Any]:
        parameters = [_parameter(name, "path", text, required=True) for name, text in route.parameters.items()]
        parameters += [_parameter(query.name, "query", query.description, required=False) for query in operation.query]
        parameters += [_parameter(header.name, "header", header.description, required=False) for header in operation.headers]
        described: dict[str, Any] = {
            "operationId": f"{method}{route.name}",
            "summary": operation.summary,
            "tags": [operation.tag],
            "parameters": parameters,
            "responses": {str(status): _response(status, model, operation) for status, model in operation.responses.items()},
        }
        if operation.request is not None:
            content = {"application/json": {"schema": _schema(operation.request)}}
            described["requestBody"] = {"content": content, "required": False}
        if self._token_needed and not operation.public:
            described["security"] = [{scheme: []} for scheme in _SECURITY_SCHEMES]
        return described


_SECURITY_SCHEMES: Mapping[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "token": {"type": "apiKey", "in": "query", "name": "token"},
}


_RETRY_AFTER: Mapping[str, Any] = {
    "description": "Seconds after which to try again, where the gateway can tell",
    "schema": {"type": "integer", "minimum": 1},
}


def _parameter(name: str, place: str, description: str, *, required: bool) -> dict[str, Any]:
    return {"name": name, "in": place, "required": required, "description": description, "schema": {"type": "string"}}


def _schema(model: type) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components([model], ref_template=_REFERENCES)
    return schema


def _response(status: int, model: type | None, operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        described["headers"] = {"Retry-After": _RETRY_AFTER}
    if model is not None:
        described["content"] = {"application/json": {"schema": _schema(model)}}
    elif status == HTTPStatus.OK:
        described["content"] = {operation.content_type: {}}
    if status == HTTPStatus.OK:
        described.get("content", {}).update({content_type: {} for content_type in operation.other_content_types})
    return described


class OpenApiHandler(JsonHandler):
    """Serves the document, as JSON or as YAML; it holds nothing secret and needs no token."""

    operations: ClassVar = {"get": Operation(summary="This document", responses={200: None, 304: None}, public=True)}

    def initialize(self, *, edge: Edge, document: OpenApiDocument) -> None:  # type: ignore[override]  # each handler names its services
        """Take the document."""
        super().initialize(edge=edge)
        self._document = document

    def get(self) -> None:
        """Answer in the form that the address' ending names."""
        if self.request.path.rstrip("/").endswith(".yaml"):
            # Asked for once in a while by people: not worth its memory before.
            import yaml

            self.set_header("Content-Type", "application/yaml")
            self.finish(yaml.safe_dump(self._document.document, sort_keys=False))
        else:
            self.write_json(self._document.document)

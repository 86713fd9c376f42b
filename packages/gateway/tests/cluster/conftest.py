"""A small API server in this process: it keeps objects, answers lists and watches, and fails on demand."""

import asyncio
import itertools
import json
from dataclasses import dataclass, field
from typing import Self

import pytest
from aiohttp import web  # pants: no-infer-dep  it comes with kubernetes
from kubernetes.aio.client import ApiClient, Configuration

from enterprise_gateway.cluster.api.client import ClusterClient
from enterprise_gateway.cluster.pods.state import pod_state
from enterprise_gateway.cluster.watch.informer import Informer
from enterprise_gateway.launch.plan import LaunchSettings, build_plan
from enterprise_gateway.launch.policy import Policy
from enterprise_gateway.launch.request import KernelFacts, recorded_request
from enterprise_gateway.launch.template import Dialect, PodTemplate
from enterprise_gateway_common import labels

_NAMESPACED = "/{prefix:api/v1|apis/[^/]+/v1}/namespaces/{namespace}/{plural}"
_KINDS = {
    "pods": "Pod",
    "secrets": "Secret",
    "configmaps": "ConfigMap",
    "namespaces": "Namespace",
    "rolebindings": "RoleBinding",
    "events": "Event",
    "leases": "Lease",
}


@dataclass
class Fault:
    """How one request goes wrong."""

    status: int = 0
    """Answer of the server; 0 drops the connection."""
    after: bool = False
    """Whether the request takes effect first, so that only its answer is lost."""
    hang: bool = False
    headers: dict[str, str] = field(default_factory=dict)


class FakeApi:
    """What the tests see of the server."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], dict] = {}
        self.requests: list[tuple[str, str]] = []
        self.fault = lambda _number, _request: None
        self.end_watches = asyncio.Event()
        self.stopping = asyncio.Event()
        self.watch_error: dict | None = None
        self.nonsense = b""
        """What a watch says in place of its first change."""
        self.logs = ""
        """What every container wrote."""
        self._versions = itertools.count(1)
        self._history: list[tuple[int, str, dict]] = []
        self._changed = asyncio.Condition()

    # ------------------------------------------------------------------------------------------- what the tests do

    async def put(self, plural: str, document: dict, change: str = "MODIFIED") -> dict:
        metadata = document["metadata"]
        number = next(self._versions)
        metadata["resourceVersion"] = str(number)
        metadata.setdefault("uid", f"uid-{number}")
        metadata.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        self.objects[plural, metadata.get("namespace", ""), metadata["name"]] = document
        await self._tell(number, change, plural, document)
        return document

    async def remove(self, plural: str, namespace: str, name: str) -> None:
        document = self.objects.pop((plural, namespace, name))
        number = next(self._versions)
        document["metadata"]["resourceVersion"] = str(number)
        await self._tell(number, "DELETED", plural, document)

    def left(self) -> list[str]:
        """Return what exists, as kind/name."""
        return sorted(f"{plural}/{name}" for plural, _, name in self.objects)

    async def _tell(self, number: int, change: str, plural: str, document: dict) -> None:
        async with self._changed:
            self._history.append((number, change, {**document, "kind": _KINDS.get(plural, plural)}))
            self._changed.notify_all()

    def forget_history(self) -> None:
        self._history.clear()
        self.watch_error = {"code": 410, "reason": "Expired", "message": "too old resource version"}

    async def drop_watches(self) -> None:
        self.end_watches.set()
        async with self._changed:
            self._changed.notify_all()

    # ------------------------------------------------------------------------------------------ what the server does

    @web.middleware
    async def faulty(self, request: web.Request, handler) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        fault = self.fault(len(self.requests), request)
        if fault is None:
            return await handler(request)
        if fault.after:
            await handler(request)
        if fault.hang:
            await self.stopping.wait()
        if fault.status == 0:
            request.transport.abort()
            return web.Response()
        body = {"message": f"injected {fault.status}", "reason": "Injected"}
        return web.json_response(body, status=fault.status, headers={**fault.headers, "Audit-Id": "topsecret"})

    async def create(self, request: web.Request) -> web.Response:
        document = await request.json()
        namespace = request.match_info.get("namespace", "")
        key = (request.match_info.get("plural", "namespaces"), namespace, document["metadata"]["name"])
        if key in self.objects:
            return _refusal(409, "AlreadyExists", f"{key[0]} {key[2]!r} already exists")
        return web.json_response(await self.put(key[0], document, "ADDED"), status=201)

    async def read(self, request: web.Request) -> web.Response:
        found = self.objects.get(_key(request))
        return web.json_response(found) if found else _refusal(404, "NotFound", "not found")

    async def log(self, _request: web.Request) -> web.Response:
        return web.Response(text=self.logs)

    async def delete(self, request: web.Request) -> web.Response:
        key, body = _key(request), await request.json()
        found = self.objects.get(key)
        if found is None:
            return _refusal(404, "NotFound", "not found")
        for name, wanted in body.get("preconditions", {}).items():
            if wanted != found["metadata"][name]:
                return _refusal(409, "Conflict", f"the {name} in the precondition does not match")
        await self.remove(*key)
        if key[0] == "namespaces":
            for inner in [inner for inner in self.objects if inner[1] == key[2]]:
                await self.remove(*inner)
        return web.json_response({"status": "Success"})

    async def patch(self, request: web.Request) -> web.Response:
        found = self.objects.get(_key(request))
        if found is None:
            return _refusal(404, "NotFound", "not found")
        body = await request.json()
        for name in ("uid", "resourceVersion"):
            if body["metadata"].pop(name, found["metadata"][name]) != found["metadata"][name]:
                return _refusal(409, "Conflict", "the object has been modified")
        found.setdefault("data", {}).update(body.get("data", {}))
        for name, value in body["metadata"].items():
            merged = {**found["metadata"].get(name, {}), **value} if isinstance(value, dict) else value
            found["metadata"][name] = merged
        return web.json_response(await self.put(_key(request)[0], found))

    async def replace(self, request: web.Request) -> web.Response:
        found, document = self.objects.get(_key(request)), await request.json()
        if found is None or found["metadata"]["resourceVersion"] != document["metadata"].get("resourceVersion"):
            return _refusal(409, "Conflict", "the object has been modified")
        document["metadata"]["uid"] = found["metadata"]["uid"]
        return web.json_response(await self.put(_key(request)[0], document))

    async def list_or_watch(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return await self._watch(request)
        plural = request.match_info.get("plural", "namespaces")
        namespace = request.match_info.get("namespace")
        items = [
            document
            for (kind, home, _), document in self.objects.items()
            if kind == plural and namespace in {None, home} and _selected(document, request)
        ]
        version = self._history[-1][0] if self._history else 0
        self.watch_error = None
        metadata = {"resourceVersion": str(version)}
        begin = int(request.query.get("continue", "0"))
        end = begin + int(request.query.get("limit", len(items)))
        if end < len(items):
            metadata["continue"] = str(end)
        return web.json_response({"items": items[begin:end], "metadata": metadata})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        if self.nonsense:
            await response.write(self.nonsense + b"\n")
            return response
        if self.watch_error:
            await response.write(json.dumps({"type": "ERROR", "object": self.watch_error}).encode() + b"\n")
            return response
        if not self.stopping.is_set():
            self.end_watches.clear()
        kind, seen = _KINDS[request.match_info["plural"]], int(request.query["resourceVersion"])
        # This server's library holds headers back until there is something to send after them.
        bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(seen)}}}
        await response.write(json.dumps(bookmark).encode() + b"\n")
        while not self.end_watches.is_set():
            for number, change, document in [entry for entry in self._history if entry[0] > seen]:
                seen = number
                if document["kind"] != kind:
                    continue
                selected = _selected(document, request)
                if selected or change == "MODIFIED":
                    # What is selected no longer is gone as far as this watch goes.
                    shown = {"type": change if selected else "DELETED", "object": document}
                    await response.write(json.dumps(shown).encode() + b"\n")
            async with self._changed:
                if self.end_watches.is_set() or any(entry[0] > seen for entry in self._history):
                    continue
                await self._changed.wait()
        return response

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self.faulty])
        for root in (_NAMESPACED, "/{prefix:api/v1}/{plural:namespaces}"):
            application.router.add_post(root, self.create)
            application.router.add_get(root, self.list_or_watch)
            application.router.add_get(root + "/{name}", self.read)
            application.router.add_delete(root + "/{name}", self.delete)
            application.router.add_patch(root + "/{name}", self.patch)
            application.router.add_put(root + "/{name}", self.replace)
        application.router.add_get("/{prefix:api/v1}/{plural}", self.list_or_watch)
        application.router.add_get("/api/v1/namespaces/{namespace}/pods/{name}/log", self.log)
        return application


def _key(request: web.Request) -> tuple[str, str, str]:
    return request.match_info["plural"], request.match_info.get("namespace", ""), request.match_info["name"]


def _selected(document: dict, request: web.Request) -> bool:
    own = document["metadata"].get("labels", {})
    wanted = [part.partition("=") for part in request.query.get("labelSelector", "").split(",") if part]
    return all(own.get(name) == value for name, _, value in wanted)


def _refusal(status: int, reason: str, message: str) -> web.Response:
    return web.json_response({"message": message, "reason": reason, "code": status}, status=status)


class Cluster:
    """A fake API server that listens, and a client of it whose pauses take no time."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.pauses: list[float] = []

    async def __aenter__(self) -> Self:
        self._runner = web.AppRunner(self.api.application(), shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        configuration = Configuration()
        configuration.host = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self.renewals = 0
        self.client = ClusterClient(api=ApiClient(configuration), renew=self._renew, sleep=self.pause)
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self.api.stopping.set()
        await self.api.drop_watches()
        await self.client.close()
        await self._runner.cleanup()

    async def _renew(self) -> None:
        self.renewals += 1

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    def informer(self, **selected: str) -> Informer:
        wanted = {labels.APP: labels.APP_VALUE, **selected}
        return Informer(
            client=self.client,
            kind="Pod",
            namespace=None,
            label_selector=",".join(f"{name}={value}" for name, value in wanted.items()),
            convert=pod_state,
            sleep=self.pause,
        )


@pytest.fixture
def cluster_type():
    return Cluster


@pytest.fixture
def fault_type():
    return Fault


@pytest.fixture
def pod():
    """Make a pod as the API server shows it."""

    def make(name="kernel", *, namespace="home", kernel_id="k1", spec=None, metadata=None, **status):
        own = {labels.APP: labels.APP_VALUE, labels.KERNEL_ID: kernel_id, labels.KERNEL_LAUNCH: "l1"}
        container = {"name": "kernel", "resources": {"limits": {"memory": "2Gi"}}}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": own, **(metadata or {})},
            "spec": {"containers": [container], **(spec or {})},
            "status": status,
        }

    return make


@pytest.fixture
def plan():
    kernel = KernelFacts(
        kernel_id="0b5c6f2e",
        kernel_name="python_kubernetes",
        username="alice",
        language="python",
        default_image="a/b",
        # With every object that a start can make.
        starts_pods=True,
    )
    template = PodTemplate(
        "kind: Pod\nspec: {containers: [{name: kernel, image: x}]}\n---\n"
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}",
        Dialect.JINJA,
    )
    return build_plan(
        request=recorded_request(kernel=kernel, environment={}, judged=()),
        policy=Policy(),
        settings=LaunchSettings(image_pull_secrets=("registry",), gateway_namespace="gateway"),
        template=template,
        command=("launch-kernel",),
        connection_file="{}",
        facts={},
        launch_id="l1",
    )

"""Calls to one API server: each has a deadline, each failure becomes one of this package's errors.

Objects are plain dictionaries. The library's model classes cost a multiple of the CPU time of a call, and an informer
converts each pod to the little it needs anyway.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

import aiohttp  # pants: no-infer-dep  what the asynchronous kubernetes client is made of
import msgspec
import tenacity

from enterprise_gateway.cluster.api.answers import error_of, retry_after_of
from enterprise_gateway.cluster.api.kinds import path
from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import KubernetesUnavailable, ObjectExists, ObjectNotFound
from enterprise_gateway_common import labels

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

__all__ = ["ClusterClient", "Document"]

_log = logging.getLogger(__name__)

Document = dict[str, Any]
T = TypeVar("T")

_MERGE_PATCH = "application/merge-patch+json"
_CALL_SECONDS = 10.0
_PAGE_OBJECTS = "100"
_WATCH_IDLE_SECONDS = 100.0  # the server sends a bookmark about every minute
_UNAUTHORIZED = 401
_FIRST_ERROR = 400
_SERVER_ERROR = 500


class ClusterClient:
    """Calls to one API server.

    Parameters
    ----------
    api
        The library's connection, authenticated.
    renew
        Reads the credentials anew; called once when the server doesn't know them any more.
    """

    def __init__(
        self,
        *,
        api: "ApiClient",
        renew: Callable[[], Awaitable[None]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api = api
        self._renew = renew
        self._sleep = sleep

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]  # the library has no types here

    # ------------------------------------------------------------------------------------------------------- reading

    async def get(self, kind: str, namespace: str | None, name: str, *, deadline: Deadline) -> Document:
        """Return an object."""
        return await self._repeat(lambda: self._call("GET", kind, namespace, name, deadline=deadline), deadline)

    async def list_as(
        self, kind: str, namespace: str | None, convert: Callable[[Document], T], *, deadline: Deadline, label_selector: str = ""
    ) -> tuple[list[T], str]:
        """Return what is made of each object that is selected, and the version of the whole list.

        The objects themselves are here for one page at a time: a thousand pods would take 50 MiB, which the process keeps.
        """
        made: list[T] = []

        def take(items: Sequence[Document]) -> None:
            made.extend(map(convert, items))

        version = await self._pages(kind, namespace, {"labelSelector": label_selector}, take, deadline=deadline)
        return made, version

    async def list(
        self, kind: str, namespace: str | None, *, deadline: Deadline, label_selector: str = "", field_selector: str = ""
    ) -> tuple[list[Document], str]:
        """Return all objects that are selected, and the version of the whole list."""
        items: list[Document] = []
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        version = await self._pages(kind, namespace, query, items.extend, deadline=deadline)
        return items, version

    async def _pages(
        self,
        kind: str,
        namespace: str | None,
        query: Mapping[str, str],
        take: Callable[[Sequence[Document]], None],
        *,
        deadline: Deadline,
    ) -> str:
        """Hand over all objects that a query selects, page by page; return the version of the whole list."""
        place = ""
        while True:
            asked = {**query, "limit": _PAGE_OBJECTS, "continue": place}
            page = await self._repeat(partial(self._call, "GET", kind, namespace, query=asked, deadline=deadline), deadline)
            take(page.get("items") or [])
            metadata = page.get("metadata") or {}
            place = str(metadata.get("continue") or "")
            if not place:
                return str(metadata.get("resourceVersion", ""))

    async def watch(
        self,
        kind: str,
        namespace: str | None,
        *,
        label_selector: str,
        version: str,
        seconds: int,
        opened: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[tuple[str, Document]]:
        """Yield what changes after a version, with its type, until the server ends the watch.

        Parameters
        ----------
        opened
            Called when the server has taken the watch on, which may be long before the first change.

        Raises
        ------
        ResourceExpired
            The version is too old.
        KubernetesError
            The server refuses, doesn't answer or falls silent.
        """
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "labelSelector": label_selector,
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_read=_WATCH_IDLE_SECONDS)
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                response = await self._send("GET", path(kind, namespace), query=query, timeout=timeout)
            try:
                await self._raise_for(response, kind, namespace, "")
                opened()
                async for line in response.content:
                    yield _event(line, kind, namespace)
            finally:
                response.close()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise KubernetesUnavailable(_no_answer(error), kind=kind, namespace=namespace or "") from error

    # ------------------------------------------------------------------------------------------------------- writing

    async def create(self, document: Mapping[str, Any], *, deadline: Deadline) -> Document:
        """Create an object once, though the call is repeated when its answer is lost.

        Raises
        ------
        ObjectExists
            There is an object of this name that wasn't created by this call.
        """
        kind, namespace, name = document["kind"], document["metadata"].get("namespace"), document["metadata"]["name"]
        uncertain = exists = False

        async def once() -> Document:
            nonlocal uncertain, exists
            if not exists:
                try:
                    return await self._call("POST", kind, namespace, body=document, deadline=deadline)
                except KubernetesUnavailable:
                    uncertain = True
                    raise
                except ObjectExists:
                    if not uncertain:
                        raise
                    exists = True
            # Whose it is may have to be asked more than once too.
            found = await self._call("GET", kind, namespace, name, deadline=deadline)
            if not _same_launch(found, document):
                raise ObjectExists("an object of this name exists", kind=kind, namespace=namespace or "", name=name)
            return found

        return await self._repeat(once, deadline)

    async def delete(
        self, kind: str, namespace: str | None, name: str, *, deadline: Deadline, uid: str | None = None, grace: int | None = None
    ) -> None:
        """Delete an object; one that isn't there, or isn't the one of this uid any more, is as good as deleted."""
        body: Document = {"propagationPolicy": "Background"}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        try:
            await self._repeat(lambda: self._call("DELETE", kind, namespace, name, body=body, deadline=deadline), deadline)
        except (ObjectNotFound, ObjectExists):
            # 409 answers a uid that isn't this object's.
            return

    async def delete_unchanged(
        self, kind: str, namespace: str | None, name: str, *, uid: str, version: str, grace: int | None, deadline: Deadline
    ) -> bool:
        """Delete an object, unless somebody has changed it since it was seen; tell whether it is gone."""
        body: Document = {"propagationPolicy": "Background", "preconditions": {"uid": uid, "resourceVersion": version}}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        try:
            await self._repeat(lambda: self._call("DELETE", kind, namespace, name, body=body, deadline=deadline), deadline)
        except ObjectNotFound:
            return True
        except ObjectExists:
            return False
        return True

    async def patch(
        self, kind: str, namespace: str | None, name: str, body: Mapping[str, Any], *, deadline: Deadline
    ) -> Document:
        """Change some fields of an object and leave the others alone."""
        return await self._repeat(
            lambda: self._call("PATCH", kind, namespace, name, body=body, deadline=deadline, content_type=_MERGE_PATCH), deadline
        )

    async def replace(self, document: Mapping[str, Any], *, deadline: Deadline) -> Document:
        """Replace an object, unless somebody changed it since it was read.

        Raises
        ------
        ObjectExists
            Somebody did.
        """
        metadata = document["metadata"]
        return await self._call(
            "PUT", document["kind"], metadata.get("namespace"), metadata["name"], body=document, deadline=deadline
        )

    async def log(self, namespace: str, pod: str, *, container: str, lines: int, deadline: Deadline) -> str:
        """Return the last lines that a container wrote, at most 16 KiB of them; asked for once.

        Raises
        ------
        KubernetesError
            They can't be had.
        """
        query = {"container": container, "tailLines": str(lines), "limitBytes": "16384"}
        try:
            async with asyncio.timeout(deadline.within(_CALL_SECONDS)):
                response = await self._send("GET", path("Pod", namespace, pod) + "/log", query=query)
                await self._raise_for(response, "Pod", namespace, pod)
                return (await response.read()).decode(errors="replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KubernetesUnavailable(_no_answer(error), kind="Pod", namespace=namespace, name=pod) from error

    # ---------------------------------------------------------------------------------------------------------- calls

    async def _repeat(self, call: Callable[[], Awaitable[Document]], deadline: Deadline) -> Document:
        async for attempt in tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(KubernetesUnavailable),
            wait=lambda state: deadline.within(_pause(state)),
            stop=lambda _state: deadline.left() <= 0,
            sleep=self._sleep,
            reraise=True,
        ):
            with attempt:
                return await call()
        raise AssertionError("tenacity either returns or raises")

    async def _call(
        self,
        method: str,
        kind: str,
        namespace: str | None,
        name: str = "",
        *,
        deadline: Deadline,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Document:
        try:
            async with asyncio.timeout(deadline.within(_CALL_SECONDS)):
                response = await self._send(
                    method, path(kind, namespace, name), query=query, body=body, content_type=content_type
                )
                await self._raise_for(response, kind, namespace, name or _name_of(body))
                document: Document = msgspec.json.decode(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise KubernetesUnavailable(_no_answer(error), kind=kind, namespace=namespace or "", name=name) from error
        return document

    async def _send(
        self,
        method: str,
        resource: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> aiohttp.ClientResponse:
        """Return the answer; where the server doesn't know the credentials any more, they are read anew once."""

        async def once() -> aiohttp.ClientResponse:
            return await self._send_once(method, resource, query=query, body=body, content_type=content_type, timeout=timeout)

        response = await once()
        if response.status != _UNAUTHORIZED:
            return response
        response.release()
        await self._renew()
        return await once()

    async def _send_once(
        self,
        method: str,
        resource: str,
        *,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        content_type: str,
        timeout: aiohttp.ClientTimeout | None,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        _, url, headers, _, _ = await self._api.param_serialize(
            method, resource, header_params=headers, query_params=[], auth_settings=["BearerToken"]
        )
        # Their own retries hide how long a call has taken; the budget is kept here.
        answer = await self._api.rest_client.request(  # type: ignore[no-untyped-call]  # as above
            method,
            f"{url}?{urlencode({name: text for name, text in (query or {}).items() if text})}" if query else url,
            headers=headers,
            body=body,
            _request_timeout=timeout or aiohttp.ClientTimeout(total=_CALL_SECONDS),
        )
        response: aiohttp.ClientResponse = answer.response
        return response

    async def _raise_for(self, response: aiohttp.ClientResponse, kind: str, namespace: str | None, name: str) -> None:
        if response.status < _FIRST_ERROR:
            return
        raise error_of(
            status=response.status,
            body=await response.read(),
            retry_after=retry_after_of(response.headers),
            kind=kind,
            namespace=namespace or "",
            name=name,
        )


_backoff = tenacity.wait_exponential_jitter(multiplier=0.1, max=5.0, jitter=0.2)


def _pause(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, KubernetesUnavailable) else None
    return asked if asked is not None else _backoff(state)


def _event(line: bytes, kind: str, namespace: str | None) -> tuple[str, Document]:
    try:
        event = msgspec.json.decode(line)
        change, document = str(event["type"]), event["object"]
        status = int(document.get("code") or _SERVER_ERROR)
        if change != "ERROR":
            _ = document["metadata"]["resourceVersion"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # Whatever stands between may answer in its own words, and with success.
        words = "the API server sent something that is no change of an object"
        raise KubernetesUnavailable(words, kind=kind, namespace=namespace or "") from error
    if change == "ERROR":
        body = msgspec.json.encode(document)
        raise error_of(status=status, body=body, retry_after=None, kind=kind, namespace=namespace or "", name="")
    return change, document


def _same_launch(found: Document, wanted: Mapping[str, Any]) -> bool:
    mark = (wanted["metadata"].get("labels") or {}).get(labels.KERNEL_LAUNCH)
    return mark is not None and (found["metadata"].get("labels") or {}).get(labels.KERNEL_LAUNCH) == mark


def _name_of(body: Mapping[str, Any] | None) -> str:
    return str(((body or {}).get("metadata") or {}).get("name", ""))


def _no_answer(error: Exception) -> str:
    return (
        "the API server didn't answer in time"
        if isinstance(error, TimeoutError)
        else f"the API server can't be reached ({type(error).__name__})"
    )

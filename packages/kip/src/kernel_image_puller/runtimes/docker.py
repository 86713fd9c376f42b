"""Docker Engine, by its API."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import requests
import urllib3  # pants: no-infer-dep  what requests is made of: its errors pass through the Docker SDK
from docker.errors import APIError, DockerException, NotFound

from kernel_image_puller.classification import classify_pull_message, without_secrets
from kernel_image_puller.errors import PermanentPullError, PullCancelled, PullFailed, RuntimeAway, TransientPullError
from kernel_image_puller.runtimes.protocol import Progress, PullOrder, StoredImage, complete_names

__all__ = ["DockerRuntime"]

_CALL_SECONDS = 30
# What reading an answer that breaks off raises is of the library below the one below.
_FAILURES = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError)
_NOT_THE_REGISTRY = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


class DockerRuntime:
    """A Docker engine.

    Parameters
    ----------
    address
        `unix://` and the socket's path, or `tcp://host:port`.
    """

    uses_credentials = True

    def __init__(self, *, address: str) -> None:
        self.name = f"Docker engine at {address}"
        self._address = address
        # One client a thread: the library's connections are not made for several.
        self._local = threading.local()

    def describe(self) -> str:
        """Return the engine's version, and how it is reached."""
        with self._calling() as client:
            version: dict[str, Any] = client.version()
        return f"docker {version.get('Version', '')} ({self.name})"

    def images(self) -> Sequence[StoredImage]:
        """Return every image of the engine, in one call."""
        with self._calling() as client:
            listed: list[dict[str, Any]] = client.images()
        return [
            StoredImage(
                image["Id"],
                complete_names([*(image.get("RepoTags") or ()), *(image.get("RepoDigests") or ())]),
                int(image.get("Size") or 0),
            )
            for image in listed
        ]

    def pull(self, order: PullOrder) -> int:
        """Return the image's size once it is pulled."""
        name = str(order.reference)
        client = self._client()
        connection = _Connection()
        client.hooks["response"] = [connection.keep]
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            connection.shut()

        timer = threading.Timer(order.timeout, expire)
        timer.daemon = True
        timer.start()
        try:
            with order.cancellation.calling(connection.shut):
                self._stream(client, order)
        except _FAILURES as error:
            if order.cancellation.cancelled:
                raise PullCancelled(f"{name}: cancelled") from None
            if expired.is_set():
                raise TransientPullError(f"{name}: not pulled within {order.timeout:.0f} s") from None
            raise self._pull_failed(error, name) from error
        finally:
            timer.cancel()
            client.hooks["response"] = []
            connection.close()
        if order.cancellation.cancelled or expired.is_set():
            # A response that is shut down may also look as if it had simply ended.
            raise PullCancelled(f"{name}: cancelled") if order.cancellation.cancelled else TransientPullError(f"{name}: too slow")
        return self._size(name)

    def identities_in_use(self) -> frozenset[str]:
        """Return the identities of images that a container uses, running or not."""
        with self._calling() as client:
            containers: list[dict[str, Any]] = client.containers(all=True)
        return frozenset(container["ImageID"] for container in containers)

    def remove(self, image: StoredImage, name: str) -> None:
        """Remove one name; with the last one the engine removes the image."""
        del image
        with self._calling() as client:
            try:
                client.remove_image(name, force=False)
            except NotFound:
                return
            except APIError as error:
                raise TransientPullError(f"{name}: {without_secrets(error.explanation or str(error))}") from error

    def image_filesystem(self) -> Path | None:
        """Return the engine's folder, on the engine's machine."""
        with self._calling() as client:
            root = client.info().get("DockerRootDir")
        return Path(root) if root else None

    def close(self) -> None:
        """Close this thread's connection."""
        client = getattr(self._local, "client", None)
        if client is not None:
            client.close()

    def _client(self) -> docker.APIClient:
        client: docker.APIClient | None = getattr(self._local, "client", None)
        if client is None:
            try:
                client = docker.APIClient(base_url=self._address, version="auto", timeout=_CALL_SECONDS)
            except _FAILURES as error:
                raise RuntimeAway(f"{self.name} doesn't answer: {without_secrets(str(error))}") from error
            self._local.client = client
        return client

    @contextmanager
    def _calling(self) -> Iterator[docker.APIClient]:
        client = self._client()
        try:
            yield client
        except _FAILURES as error:
            raise RuntimeAway(f"{self.name} doesn't answer: {without_secrets(str(error))}") from error

    def _stream(self, client: docker.APIClient, order: PullOrder) -> None:
        reference, credential = order.reference, order.credential
        # An empty login, not none: with none the library would look for one in files of its own.
        login = {}
        if credential is not None:
            login = {"username": credential.username, "password": credential.password}
            if credential.identity_token:
                login = {"identitytoken": credential.identity_token}
        separator_tag = reference.digest or reference.tag
        layers = _Layers(order.progress)
        for line in client.pull(reference.name, tag=separator_tag, stream=True, decode=True, auth_config=login):
            if "error" in line:
                raise _EngineRefused(str(line["error"]))
            layers.note(line)

    def _pull_failed(self, error: Exception, name: str) -> PullFailed:
        if isinstance(error, APIError):
            failure = classify_pull_message(f"{name}: {error.explanation or error}")
            if isinstance(error, NotFound) and type(failure) is TransientPullError:
                return PermanentPullError(str(failure))
            return failure
        if isinstance(error, _NOT_THE_REGISTRY):
            return RuntimeAway(f"{self.name} doesn't answer: {without_secrets(str(error))}")
        return classify_pull_message(f"{name}: {error}")

    def _size(self, name: str) -> int:
        try:
            found: dict[str, Any] = self._client().inspect_image(name)  # type: ignore[no-untyped-call]  # the stubs lack it
            return int(found.get("Size") or 0)
        except _FAILURES:
            # The pull has succeeded; the size is only shown, and the next round's list has it too.
            return 0


class _EngineRefused(DockerException):
    """The engine said in the middle of its answer that the pull failed."""


class _Connection:
    """The answer that a pull is reading, so that another thread can end it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._response: requests.Response | None = None
        self._shut = False

    def keep(self, response: requests.Response, *_arguments: object, **_options: object) -> None:
        with self._lock:
            self._response = response
            shut = self._shut
        if shut:
            _wake_reader(response)

    def shut(self) -> None:
        with self._lock:
            self._shut = True
            response = self._response
        if response is not None:
            _wake_reader(response)

    def close(self) -> None:
        """Leave the answer; the engine ends a pull whose client is gone."""
        if self._response is not None:
            self._response.close()


def _wake_reader(response: requests.Response) -> None:
    try:
        # Closing would wait for the reader; this wakes it.
        response.raw.shutdown()
    except (ValueError, RuntimeError, OSError):
        # The answer has come to its end in this very moment.
        return


class _Layers:
    """Adds up the progress of an image's layers."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._layers: dict[str, tuple[int, int]] = {}

    def note(self, line: dict[str, Any]) -> None:
        detail, layer = line.get("progressDetail") or {}, line.get("id")
        if line.get("status") == "Downloading" and layer and detail.get("total"):
            self._layers[layer] = (int(detail.get("current") or 0), int(detail["total"]))
        elif line.get("status") == "Download complete" and layer in self._layers:
            total = self._layers[layer][1]
            self._layers[layer] = (total, total)
        self._progress.total_bytes = sum(total for _, total in self._layers.values())
        self._progress.done_bytes = sum(done for done, _ in self._layers.values())

"""Images of the kernelspecs that a gateway serves."""

import json
from collections.abc import Callable
from typing import Any

import requests

from enterprise_gateway_common.kernelspec_metadata import MalformedMetadataError, kernelspec_images
from enterprise_gateway_common.tokens import is_one_printable_word
from kernel_image_puller.classification import without_secrets
from kernel_image_puller.errors import SourceFailed
from kernel_image_puller.sources.protocol import SourceAnswer
from kernel_image_puller.wanted import ImageRequest, PullPolicy

__all__ = ["KernelspecsSource"]

_NOT_MODIFIED = 304
_OK = 200
_LARGEST_ANSWER = 32 * 1024 * 1024
_NOT_SENDABLE = "the gateway's token (KIP_AUTH_TOKEN, KIP_AUTH_TOKEN_FILE) is not one line of printable ASCII without blanks"


class KernelspecsSource:
    """The gateway's `/api/kernelspecs`; an answer that hasn't changed is not sent again.

    Parameters
    ----------
    gateway
        The gateway's URL with its base path.
    token
        Returns the token to send, or an empty text.
    verify
        Whether the certificate is checked, or the file of certificates to check it with.
    timeout
        Seconds that the gateway may let us wait for the connection, and for every part of its answer.
    """

    name = "kernelspecs"

    def __init__(self, *, gateway: str, token: Callable[[], str], verify: bool | str, timeout: float) -> None:
        self._url = gateway.rstrip("/") + "/api/kernelspecs"
        self._shown_url = without_secrets(self._url)
        self._token = token
        self._timeout = timeout
        self._session = requests.Session()
        self._session.verify = verify
        # Neither a proxy nor a .netrc of the environment may come between: the token goes to the gateway alone.
        self._session.trust_env = False
        self._etag = ""
        self._answer = SourceAnswer(())

    def fetch(self) -> SourceAnswer:
        """Return the images of all kernelspecs."""
        headers = {"Accept": "application/json"}
        if token := self._usable_token():
            headers["Authorization"] = f"token {token}"
        if self._etag:
            headers["If-None-Match"] = self._etag
        try:
            with self._session.get(
                self._url, headers=headers, timeout=self._timeout, allow_redirects=False, stream=True
            ) as response:
                return self._read(response)
        # A file of certificates that is missing is an OSError, an address that is none a ValueError.
        except (OSError, ValueError) as error:
            raise SourceFailed(f"{self._shown_url} doesn't answer: {without_secrets(str(error))}") from error

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _usable_token(self) -> str:
        try:
            token = self._token()
        except UnicodeDecodeError:
            # Its text would show a part of the token.
            raise SourceFailed(_NOT_SENDABLE) from None
        except OSError as error:
            raise SourceFailed(f"the gateway's token can't be read: {error}") from error
        if token and not is_one_printable_word(token):
            raise SourceFailed(_NOT_SENDABLE)
        return token

    def _read(self, response: requests.Response) -> SourceAnswer:
        if response.status_code == _NOT_MODIFIED and self._etag:
            return self._answer
        if response.status_code != _OK:
            raise SourceFailed(f"{self._shown_url} answers {response.status_code} {without_secrets(response.reason or '')}")
        body = b"".join(_bounded(response))
        try:
            kernelspecs = json.loads(body)["kernelspecs"]
            pairs = list(kernelspecs.items())
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SourceFailed(f"{self._shown_url} doesn't answer with kernelspecs") from error
        # Only what could be read whole is remembered: otherwise a 304 would confirm half an answer.
        self._answer = _images(pairs)
        self._etag = response.headers.get("ETag", "")
        return self._answer


def _bounded(response: requests.Response) -> list[bytes]:
    parts, size = [], 0
    for part in response.iter_content(64 * 1024):
        size += len(part)
        if size > _LARGEST_ANSWER:
            raise SourceFailed(f"{without_secrets(response.url)} answers with more than {_LARGEST_ANSWER} bytes")
        parts.append(part)
    return parts


def _images(kernelspecs: list[tuple[str, Any]]) -> SourceAnswer:
    found: list[ImageRequest] = []
    problems: list[str] = []
    for name, model in kernelspecs:
        try:
            images = kernelspec_images(model.get("spec") if isinstance(model, dict) else model)
        except MalformedMetadataError as error:
            problems.append(f"kernelspec {name}: {error}")
            continue
        found.extend(
            ImageRequest(image.image, name, PullPolicy(image.pull_policy) if image.pull_policy else None, image.node_selector)
            for image in images
        )
    return SourceAnswer(tuple(found), tuple(problems))

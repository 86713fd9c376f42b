"""Containerd, CRI-O and cri-dockerd, by the container runtime interface over their socket."""

from collections.abc import Sequence
from pathlib import Path

import grpc

from kernel_image_puller.classification import classify_pull_message, without_secrets
from kernel_image_puller.errors import (
    ConfigurationError,
    PermanentPullError,
    PullCancelled,
    PullFailed,
    RuntimeAway,
    TransientPullError,
)
from kernel_image_puller.runtimes.cri_v1 import api_pb2, api_pb2_grpc
from kernel_image_puller.runtimes.protocol import Credential, PullOrder, StoredImage, complete_names

__all__ = ["CriRuntime"]

# A node with many images answers ListImages with more than gRPC's usual 4 MiB.
_LARGEST_MESSAGE = 16 * 1024 * 1024
_CALL_SECONDS = 30.0
_OPTIONS = [
    ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
    # The authority of a unix socket is its escaped path, which Go's HTTP/2 server refuses.
    ("grpc.default_authority", "localhost"),
    # A runtime that restarts is found again within seconds, not after gRPC's back-off of two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5000),
    # Channels to the same address share their connection otherwise; a closed runtime must not keep another's alive.
    ("grpc.use_local_subchannel_pool", 1),
]
# Of a call that the runtime did receive, the text begins with what the runtime was doing.
_RUNTIMES_OWN_WORDS = ("failed to pull", "failed to resolve", "pull", "rpc error")


class CriRuntime:
    """A runtime behind a CRI socket.

    Parameters
    ----------
    endpoint
        `unix://` and the socket's path. The path is looked up anew for every connection.
    """

    uses_credentials = True

    def __init__(self, *, endpoint: str) -> None:
        self.name = f"CRI at {endpoint}"
        self._channel = grpc.insecure_channel(endpoint, options=_OPTIONS)
        self._images = api_pb2_grpc.ImageServiceStub(self._channel)
        self._runtime = api_pb2_grpc.RuntimeServiceStub(self._channel)

    def describe(self) -> str:
        """Return the runtime's own name and version, and how it is reached."""
        try:
            answer = self._runtime.Version(api_pb2.VersionRequest(), timeout=_CALL_SECONDS)
        except grpc.RpcError as error:
            raise self._call_failed(error) from error
        return f"{answer.runtime_name} {answer.runtime_version} ({self.name})"

    def images(self) -> Sequence[StoredImage]:
        """Return every image of the node, in one call to the runtime."""
        try:
            answer = self._images.ListImages(api_pb2.ListImagesRequest(), timeout=_CALL_SECONDS)
        except grpc.RpcError as error:
            raise self._call_failed(error) from error
        return [
            StoredImage(image.id, complete_names([*image.repo_tags, *image.repo_digests]), image.size, image.pinned)
            for image in answer.images
        ]

    def pull(self, order: PullOrder) -> int:
        """Return the image's size once it is pulled and unpacked."""
        name = str(order.reference)
        request = api_pb2.PullImageRequest(
            image=api_pb2.ImageSpec(image=name),
            auth=_authentication(order.credential),
            # Some runtimes read fields of it without asking whether it is there.
            sandbox_config=api_pb2.PodSandboxConfig(),
        )
        call = self._images.PullImage.future(request, timeout=order.timeout)
        try:
            with order.cancellation.calling(call.cancel):
                call.result()
        except grpc.FutureCancelledError:
            raise PullCancelled(f"{name}: cancelled") from None
        except grpc.RpcError as error:
            raise _pull_failed(error, order) from error
        return self._size(name)

    def identities_in_use(self) -> frozenset[str]:
        """Return the identities of images that a container uses, running or not."""
        try:
            answer = self._runtime.ListContainers(api_pb2.ListContainersRequest(), timeout=_CALL_SECONDS)
        except grpc.RpcError as error:
            raise self._call_failed(error) from error
        used = {
            text for container in answer.containers for text in (container.image_id, container.image_ref, container.image.image)
        }
        return frozenset(used - {""})

    def remove(self, image: StoredImage, name: str) -> None:
        """Remove an image with all its names, which is what this interface does for any one of them."""
        del name
        try:
            self._images.RemoveImage(
                api_pb2.RemoveImageRequest(image=api_pb2.ImageSpec(image=image.identity)), timeout=_CALL_SECONDS
            )
        except grpc.RpcError as error:
            raise self._call_failed(error) from error

    def image_filesystem(self) -> Path | None:
        """Return where the runtime stores images, on the node."""
        try:
            answer = self._images.ImageFsInfo(api_pb2.ImageFsInfoRequest(), timeout=_CALL_SECONDS)
        except grpc.RpcError as error:
            raise self._call_failed(error) from error
        mountpoints = [usage.fs_id.mountpoint for usage in answer.image_filesystems if usage.fs_id.mountpoint]
        return Path(mountpoints[0]) if mountpoints else None

    def close(self) -> None:
        """Close the connection; calls in flight end."""
        self._channel.close()

    def _size(self, name: str) -> int:
        request = api_pb2.ImageStatusRequest(image=api_pb2.ImageSpec(image=name))
        try:
            return self._images.ImageStatus(request, timeout=_CALL_SECONDS).image.size
        except grpc.RpcError:
            # The pull has succeeded; the size is only shown, and the next round's list has it too.
            return 0

    def _call_failed(self, error: grpc.RpcError) -> Exception:
        code, details = _code_and_details(error)
        if code == grpc.StatusCode.UNIMPLEMENTED:
            return ConfigurationError(f"{self.name} doesn't speak the container runtime interface, version 1: {details}")
        return RuntimeAway(f"{self.name} doesn't answer: {without_secrets(details)}")


def _authentication(credential: Credential | None) -> api_pb2.AuthConfig | None:
    if credential is None:
        return None
    # No server_address: containerd drops the credential without a word when it isn't a URL of the very host.
    return api_pb2.AuthConfig(
        username=credential.username, password=credential.password, identity_token=credential.identity_token
    )


def _pull_failed(error: grpc.RpcError, order: PullOrder) -> PullFailed:
    code, details = _code_and_details(error)
    text = without_secrets(details)
    if order.cancellation.cancelled:
        return PullCancelled(f"{order.reference}: cancelled")
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return TransientPullError(f"{order.reference}: not pulled within {order.timeout:.0f} s")
    if code == grpc.StatusCode.NOT_FOUND:
        return PermanentPullError(text)
    if code == grpc.StatusCode.UNAVAILABLE and not details.lower().startswith(_RUNTIMES_OWN_WORDS):
        return RuntimeAway(text)
    return classify_pull_message(details)


def _code_and_details(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    return error.code(), error.details() or ""

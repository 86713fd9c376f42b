"""Makes the objects of one start, all or none, and waits until its pod runs or can't.

Each object is noted before it is asked for, so that whatever goes wrong afterwards (a refusal, an answer that is
lost, a cancelled start) what exists is known and is taken away again.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from enterprise_gateway.cluster.api.client import ClusterClient, Document
from enterprise_gateway.cluster.objects.removal import PendingDeletion, Removal
from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import KernelExists, KubernetesError, LaunchRefused, ObjectExists, ObjectNotFound
from enterprise_gateway.launch.plan import LaunchPlan
from enterprise_gateway.launch.secret import copied_pull_secret
from enterprise_gateway_common import labels

__all__ = ["KernelObjects", "ObjectMaker"]

_log = logging.getLogger(__name__)

_UNDO_SECONDS = 1.5
_ACCOUNT_RETRY_SECONDS = 0.05
_ROOM_SECONDS = 0.5
# So often the garbage collector may be found to be still busy with what an earlier start of the kernel had.
_ROUNDS_FOR_OTHERS = 6
_FORBIDDEN = 403
_OF_RIGHTS = re.compile(r'User "[^"]*" cannot ')


class _Made(NamedTuple):
    kind: str
    namespace: str | None
    name: str
    uid: str | None
    """`None` while it isn't known whether it exists."""


class KernelObjects(NamedTuple):
    """What one start made."""

    namespace: str
    owns_namespace: bool
    pod_name: str
    pod_uid: str
    namespace_uid: str | None = None
    """`None` where the namespace isn't the kernel's own, or another process made it."""


class ObjectMaker:
    """Makes the objects of starts.

    Parameters
    ----------
    removal
        Takes away what a failed start made.
    gateway_namespace
        Where the Secrets lie that are copied into namespaces of kernels.
    """

    def __init__(
        self,
        *,
        client: ClusterClient,
        removal: Removal,
        gateway_namespace: str | None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._sleep = sleep
        self._removal = removal
        self._gateway_namespace = gateway_namespace

    async def make(self, plan: LaunchPlan, *, deadline: Deadline) -> KernelObjects:
        """Return the objects of a start, all of them made.

        Raises
        ------
        LaunchRefused
            One couldn't be made, in Kubernetes' words; then none of them is left.
        KernelExists
            The kernel has a pod already, by another process' start; of this start nothing is left.
        """
        made: list[_Made] = []
        try:
            return await self._make(plan, made, deadline)
        except BaseException as error:
            if isinstance(error, KernelExists):
                # The pod that was faster uses what both starts share, whoever of the two made it.
                made = [item for item in made if item.kind == "Secret" and item.name == plan.names.secret]
            await self._undo(plan, made, deadline)
            if isinstance(error, KubernetesError):
                raise LaunchRefused(_refusal(error), code=0 if _lacks_right(error) else error.code) from error
            raise

    async def _make(self, plan: LaunchPlan, made: list[_Made], deadline: Deadline) -> KernelObjects:
        namespace_uid: str | None = None
        if plan.namespace_document is not None:
            # A kernel that is started again finds its namespace; it stays the kernel's own.
            namespace = await self._create(plan, plan.namespace_document, made, deadline, reuse=True)
            namespace_uid = namespace["metadata"]["uid"]
        for name in plan.pull_secrets:
            await self._copy_pull_secret(plan, name, made, deadline)
        if plan.role_binding is not None:
            await self._create(plan, plan.role_binding, made, deadline, reuse=True)
        secret = await self._create(plan, plan.secret, made, deadline)
        documents = [await self._create_document(plan, document, secret, made, deadline) for document in plan.documents]
        pod = await self._create_pod(plan, made, deadline)
        for document in (secret, *documents):
            await self._give_to(pod, document, deadline)
        return KernelObjects(plan.namespace, namespace_uid is not None, plan.names.pod, pod["metadata"]["uid"], namespace_uid)

    async def _create(
        self, plan: LaunchPlan, document: Mapping[str, Any], made: list[_Made], deadline: Deadline, *, reuse: bool = False
    ) -> Document:
        metadata = document["metadata"]
        target = _Made(document["kind"], metadata.get("namespace"), metadata["name"], None)
        while True:
            made.append(target)
            try:
                created = await self._client.create(document, deadline=deadline)
            except ObjectExists:
                made.remove(target)
                if not reuse:
                    raise
                found = await self._find(target, deadline)
                if found is not None and (found["metadata"].get("labels") or {}).get(labels.KERNEL_ID) != plan.kernel_id:
                    raise
                if found is not None and "deletionTimestamp" not in found["metadata"]:
                    return {**found, "kind": target.kind}
                if deadline.left() <= 2 * _ROOM_SECONDS:
                    raise
                # What an earlier life of this kernel had is still going; it makes room in a moment.
                await self._sleep(_ROOM_SECONDS)
            else:
                made[made.index(target)] = target._replace(uid=created["metadata"]["uid"])
                return {**created, "kind": target.kind}

    async def _create_document(
        self, plan: LaunchPlan, document: Mapping[str, Any], secret: Document, made: list[_Made], deadline: Deadline
    ) -> Document:
        """Return a document of the template, made; one of an earlier start of this kernel makes room for it.

        Raises
        ------
        KernelExists
            Another process' start made the one that is in the way, and has a pod by now.
        """
        # Until there is a pod it is the Secret's, which the collector of orphans finds where this process ends here.
        document = {**document, "metadata": {**document["metadata"], "ownerReferences": [_owner("Secret", secret)]}}
        target = _Made(document["kind"], document["metadata"]["namespace"], document["metadata"]["name"], None)
        met = 0
        while True:
            try:
                return await self._create(plan, document, made, deadline)
            except ObjectExists as error:
                found = await self._find(target, deadline)
                if found is not None and not _is_of_another_start(found, plan):
                    raise
                if await self._is_of_this_kernel(plan, deadline):
                    raise KernelExists from error
                if deadline.left() <= 2 * _ROOM_SECONDS:
                    raise
                met += 1
                if found is not None and met >= _ROUNDS_FOR_OTHERS and "deletionTimestamp" not in found["metadata"]:
                    # Nobody is about to make the pod that it is for.
                    uid = found["metadata"]["uid"]
                    await self._client.delete(target.kind, target.namespace, target.name, uid=uid, deadline=deadline)
                await self._sleep(_ROOM_SECONDS)

    async def _find(self, target: _Made, deadline: Deadline) -> Document | None:
        try:
            return await self._client.get(target.kind, target.namespace, target.name, deadline=deadline)
        except ObjectNotFound:
            return None

    async def _create_pod(self, plan: LaunchPlan, made: list[_Made], deadline: Deadline) -> Document:
        while True:
            try:
                return await self._create(plan, plan.pod, made, deadline)
            except ObjectExists as error:
                if await self._is_of_this_kernel(plan, deadline):
                    raise KernelExists from error
                raise
            except KubernetesError as error:
                # A new namespace has no service account for the first moments of its life.
                young = plan.namespace_document is not None and error.code == _FORBIDDEN and "serviceaccount" in error.words
                if not young or deadline.left() <= _ACCOUNT_RETRY_SECONDS:
                    raise
            made[:] = [item for item in made if item.kind != "Pod"]
            await self._sleep(_ACCOUNT_RETRY_SECONDS)

    async def _is_of_this_kernel(self, plan: LaunchPlan, deadline: Deadline) -> bool:
        """Tell whether the pod that is in the way belongs to the kernel itself."""
        try:
            found = await self._client.get("Pod", plan.namespace, plan.names.pod, deadline=deadline)
        except ObjectNotFound:
            return False
        same = (found["metadata"].get("labels") or {}).get(labels.KERNEL_ID) == plan.kernel_id
        return same and "deletionTimestamp" not in found["metadata"]

    async def _copy_pull_secret(self, plan: LaunchPlan, name: str, made: list[_Made], deadline: Deadline) -> None:
        try:
            original = await self._client.get("Secret", self._gateway_namespace, name, deadline=deadline)
        except ObjectNotFound:
            _log.warning("Image pull secret doesn't exist", extra={"namespace": self._gateway_namespace, "secret": name})
            return
        copy = copied_pull_secret(original, namespace=plan.namespace, labels=plan.labels)
        if copy is None:
            _log.warning("Image pull secret has another type", extra={"namespace": self._gateway_namespace, "secret": name})
            return
        await self._create(plan, copy, made, deadline, reuse=True)

    async def _give_to(self, pod: Document, document: Document, deadline: Deadline) -> None:
        """Have an object end with the pod."""
        metadata = document["metadata"]
        body = {"metadata": {"ownerReferences": [_owner("Pod", pod)]}}
        await self._client.patch(document["kind"], metadata["namespace"], metadata["name"], body, deadline=deadline)

    # ------------------------------------------------------------------------------------------------------- undoing

    async def _undo(self, plan: LaunchPlan, made: list[_Made], deadline: Deadline) -> None:
        """Take away what a failed start made, though the start itself is being cancelled or the cluster is away."""
        doomed = [
            PendingDeletion(plan.kernel_id, item.kind, item.namespace, item.name, item.uid, plan.launch_id, _grace(item.kind))
            for item in reversed(made)
        ]
        # Whoever waits for the start gave it a time; where that is over it is told at once that it failed, and why.
        await self._removal.take_away(doomed, patience=_UNDO_SECONDS + deadline.within(_UNDO_SECONDS))


def _owner(kind: str, document: Document) -> dict[str, str]:
    return {"apiVersion": "v1", "kind": kind, "name": document["metadata"]["name"], "uid": document["metadata"]["uid"]}


def _is_of_another_start(found: Document, plan: LaunchPlan) -> bool:
    """Tell whether an object belongs to the kernel, and not to this start of it."""
    own = found["metadata"].get("labels") or {}
    return own.get(labels.KERNEL_ID) == plan.kernel_id and own.get(labels.KERNEL_LAUNCH) != plan.launch_id


def _grace(kind: str) -> int | None:
    return 0 if kind == "Pod" else None


def _lacks_right(error: KubernetesError) -> bool:
    """Tell whether it is the gateway that may not, whatever is in the object."""
    return error.code == _FORBIDDEN and _OF_RIGHTS.search(error.words) is not None


def _refusal(error: KubernetesError) -> str:
    return f"Kubernetes refused the kernel's {error.kind} {error.name}: {error.words}"

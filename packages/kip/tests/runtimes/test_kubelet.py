from typing import TYPE_CHECKING, Any

import pytest

from enterprise_gateway_common.image_reference import parse_image_reference
from kernel_image_puller.cancellation import Cancellation
from kernel_image_puller.errors import (
    AuthenticationFailed,
    KubernetesCallFailed,
    PermanentPullError,
    PullCancelled,
    PullFailed,
    RegistryBusy,
    RuntimeAway,
    TransientPullError,
)
from kernel_image_puller.runtimes.kubelet import KubeletRuntime
from kernel_image_puller.runtimes.protocol import PullOrder
from kernel_image_puller.wanted import PullPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "docker.io/library/a:1"


class FakeCluster:
    """An API server in which one kubelet does as it is told."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.images: list[dict[str, Any]] = []
        self.volumes = True
        self.statuses: Callable[[dict[str, Any]], dict[str, Any]] = lambda _pod: {"phase": "Succeeded"}
        self.created: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.away = False
        self.busy: list[int] = []
        """Statuses that the next calls which create a pod answer with."""
        self.owner: dict[str, Any] = {"labels": {"app.kubernetes.io/instance": "one"}}
        self.own_containers: list[dict[str, Any]] = [{"image": "kip:1"}]

    def _answer(self) -> None:
        if self.away:
            raise KubernetesCallFailed("connection refused")

    def node(self, name: str) -> dict[str, Any]:
        self._answer()
        facts = {"kubeletVersion": "v1.37.0", "containerRuntimeVersion": "containerd://2.4.0"}
        return {"metadata": {"name": name}, "status": {"images": self.images, "nodeInfo": facts}}

    def pod(self, namespace: str, name: str) -> dict[str, Any]:
        self._answer()
        if name == "own":
            spec = {"containers": self.own_containers, "imagePullSecrets": [{"name": "s"}], "serviceAccountName": "sa"}
            return {"metadata": {"name": "own", "uid": "u-1", **self.owner}, "spec": spec}
        if name not in self.objects:
            raise KubernetesCallFailed(f"{namespace}/{name} not found", status=404)
        return {**self.objects[name], "status": self.statuses(self.objects[name])}

    def pods(self, namespace: str, label_selector: str) -> list[dict[str, Any]]:
        del namespace
        wanted = dict(part.split("=") for part in label_selector.split(","))
        return [pod for pod in self.objects.values() if wanted.items() <= pod["metadata"]["labels"].items()]

    def create_pod(self, namespace: str, pod: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        del namespace
        self._answer()
        if self.busy:
            raise KubernetesCallFailed("not now", status=self.busy.pop(0))
        if pod["metadata"]["name"] in self.objects:
            raise KubernetesCallFailed("already exists", status=409)
        if dry_run:
            if not self.volumes and any("image" in volume for volume in pod["spec"]["volumes"]):
                raise KubernetesCallFailed("volume must have a source", status=422)
            return pod
        self.created.append(pod)
        self.objects[pod["metadata"]["name"]] = pod
        return pod

    def delete_pod(self, namespace: str, name: str) -> None:
        del namespace
        self.deleted.append(name)
        self.objects.pop(name, None)


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def runtime(cluster: FakeCluster, clock: Any) -> KubeletRuntime:
    def wait(cancelled: Any, seconds: float) -> bool:
        clock.advance(seconds)
        return bool(cancelled.is_set())

    return KubeletRuntime(api=cluster, node="n1", namespace="ns", own_pod="own", image="", clock=clock, wait=wait)


def _order(cancellation: Cancellation | None = None, written: tuple[str, ...] = ()) -> PullOrder:
    return PullOrder(
        reference=parse_image_reference(NAME),
        policy=PullPolicy.IF_NOT_PRESENT,
        credential=None,
        timeout=60.0,
        cancellation=cancellation or Cancellation(),
        written=written,
    )


def _waiting(reason: str, message: str = "", container: str = "pull") -> dict[str, Any]:
    return {
        "phase": "Pending",
        "containerStatuses": [{"name": container, "state": {"waiting": {"reason": reason, "message": message}}}],
    }


def test_an_image_volume_pulls_without_running_anything_of_the_image(runtime: KubeletRuntime, cluster: FakeCluster) -> None:
    runtime.pull(_order())
    (pod,) = cluster.created
    assert pod["spec"]["volumes"] == [{"name": "image-0", "image": {"reference": NAME, "pullPolicy": "IfNotPresent"}}]
    assert [container["image"] for container in pod["spec"]["containers"]] == ["kip:1"]
    assert cluster.objects == {}


@pytest.mark.parametrize(
    "own",
    [
        {"name": "kernel-image-puller", "image": "kip:1"},
        {"name": "other", "image": "kip:1", "env": [{"name": "KIP_NODE_NAME", "value": "n1"}]},
    ],
    ids=["named as the chart names it", "named otherwise"],
)
def test_its_own_image_is_found_wherever_admission_puts_other_containers(
    runtime: KubeletRuntime, cluster: FakeCluster, own: dict[str, Any]
) -> None:
    cluster.own_containers = [{"name": "mesh", "image": "mesh:1", "env": [{"name": "POD"}]}, own]
    runtime.pull(_order())
    (pod,) = cluster.created
    assert [container["image"] for container in pod["spec"]["containers"]] == ["kip:1"]


def test_troubles_of_a_container_that_admission_adds_arent_the_images(runtime: KubeletRuntime, cluster: FakeCluster) -> None:
    mesh = {"name": "mesh", "state": {"waiting": {"reason": "ErrImagePull", "message": "mesh:1: not found"}}}
    pull = {"name": "pull", "state": {"terminated": {"exitCode": 0}}}
    cluster.statuses = lambda _pod: {"phase": "Pending", "containerStatuses": [mesh, pull]}
    assert runtime.pull(_order()) == 0


def test_without_image_volumes_the_image_runs_a_program_that_does_nothing(runtime: KubeletRuntime, cluster: FakeCluster) -> None:
    cluster.volumes = False
    runtime.pull(_order())
    (pod,) = cluster.created
    (container,) = pod["spec"]["containers"]
    assert (container["image"], container["command"]) == (NAME, ["/kip-tools/noop"])
    assert pod["spec"]["initContainers"][0]["command"] == ["kernel-image-puller", "write-noop", "/kip-tools/noop"]


@pytest.mark.parametrize("volumes", [True, False])
def test_one_pod_names_the_image_in_every_way_that_is_in_use(
    runtime: KubeletRuntime,
    cluster: FakeCluster,
    volumes: bool,  # noqa: FBT001  both kinds of pods
) -> None:
    cluster.volumes = volumes
    runtime.pull(_order(written=("a:1", "library/a:1")))
    (pod,) = cluster.created
    mounted = [volume["image"]["reference"] for volume in pod["spec"]["volumes"] if "image" in volume]
    started = [container["image"] for container in pod["spec"]["containers"] if container["image"] != "kip:1"]
    assert (mounted, started) == ((["a:1", "library/a:1"], []) if volumes else ([], ["a:1", "library/a:1"]))


def test_an_image_that_cannot_be_started_is_there_only_when_each_of_its_names_was_tried(
    runtime: KubeletRuntime, cluster: FakeCluster
) -> None:
    cluster.volumes = False
    looks = 0

    def statuses(_pod: dict[str, Any]) -> dict[str, Any]:
        nonlocal looks
        looks += 1
        failed = {"waiting": {"reason": "CreateContainerError", "message": "no such user"}}
        later = {"waiting": {"reason": "ContainerCreating"}} if looks < 3 else {"terminated": {"exitCode": 1}}
        return {
            "phase": "Pending",
            "containerStatuses": [{"name": "pull-0", "state": failed}, {"name": "pull-1", "state": later}],
        }

    cluster.statuses = statuses
    runtime.pull(_order(written=("a:1", "library/a:1")))
    assert looks == 3


def test_a_node_that_cannot_mount_an_image_gets_the_other_kind_of_pod(runtime: KubeletRuntime, cluster: FakeCluster) -> None:
    def statuses(pod: dict[str, Any]) -> dict[str, Any]:
        if "initContainers" in pod["spec"]:
            return {"phase": "Succeeded"}
        return _waiting("CreateContainerError", "image volume is not supported")

    cluster.statuses = statuses
    runtime.pull(_order())
    runtime.pull(_order())
    assert ["initContainers" in pod["spec"] for pod in cluster.created] == [False, True, True]


@pytest.mark.parametrize("volumes", [True, False])
def test_its_pods_are_restricted_bound_to_the_node_and_end_with_the_puller(
    runtime: KubeletRuntime,
    cluster: FakeCluster,
    volumes: bool,  # noqa: FBT001  both kinds of pods
) -> None:
    cluster.volumes = volumes
    runtime.pull(_order())
    (pod,) = cluster.created
    spec = pod["spec"]
    assert (spec["nodeName"], spec["restartPolicy"], spec["automountServiceAccountToken"]) == ("n1", "Never", False)
    assert (spec["imagePullSecrets"], spec["serviceAccountName"]) == ([{"name": "s"}], "sa")
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        context = container["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["capabilities"]) == (False, {"drop": ["ALL"]})
    assert not any("hostPath" in volume for volume in spec["volumes"])
    assert pod["metadata"]["ownerReferences"][0]["uid"] == "u-1"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (_waiting("ErrImagePull", "docker.io/library/a:1: not found"), PermanentPullError),
        (_waiting("ImagePullBackOff", "401 Unauthorized"), AuthenticationFailed),
        (_waiting("ErrImagePull", "429 Too Many Requests"), RegistryBusy),
        (_waiting("InvalidImageName", ""), PermanentPullError),
        (_waiting("ErrImagePull", "connection reset by peer"), TransientPullError),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on disk"}, TransientPullError),
        ({"phase": "Failed", "reason": "OutOfpods"}, TransientPullError),
        ({"phase": "Pending"}, TransientPullError),
    ],
)
def test_what_the_kubelet_says_has_its_class_and_the_pod_is_removed(
    runtime: KubeletRuntime, cluster: FakeCluster, status: dict[str, Any], expected: type[PullFailed]
) -> None:
    cluster.statuses = lambda _pod: status
    with pytest.raises(PullFailed) as failed:
        runtime.pull(_order())
    assert type(failed.value) is expected
    assert cluster.objects == {}


@pytest.mark.parametrize(
    "status",
    [
        {"phase": "Failed", "containerStatuses": [{"name": "pull", "state": {"terminated": {"exitCode": 1}}}]},
        _waiting("RunContainerError", "exec format error"),
    ],
)
def test_an_image_that_was_pulled_and_does_not_run_is_there(
    runtime: KubeletRuntime, cluster: FakeCluster, status: dict[str, Any]
) -> None:
    cluster.volumes = False
    cluster.statuses = lambda _pod: status
    assert runtime.pull(_order()) == 0


def test_cancelling_removes_the_pod(runtime: KubeletRuntime, cluster: FakeCluster) -> None:
    cancellation = Cancellation()

    def statuses(_pod: dict[str, Any]) -> dict[str, Any]:
        cancellation.cancel()
        return {"phase": "Pending"}

    cluster.statuses = statuses
    with pytest.raises(PullCancelled):
        runtime.pull(_order(cancellation))
    assert cluster.objects == {}


def test_an_api_server_that_is_away_is_no_failure_of_the_image(runtime: KubeletRuntime, cluster: FakeCluster) -> None:
    cluster.away = True
    with pytest.raises(RuntimeAway):
        runtime.pull(_order())
    with pytest.raises(RuntimeAway):
        runtime.images()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_api_server_that_is_busy_is_away_and_decides_nothing_about_image_volumes(
    runtime: KubeletRuntime, cluster: FakeCluster, status: int
) -> None:
    cluster.busy = [status]
    with pytest.raises(RuntimeAway):
        runtime.pull(_order())
    runtime.pull(_order())
    (pod,) = cluster.created
    assert "image" in pod["spec"]["volumes"][0]
    cluster.busy = [status]
    with pytest.raises(RuntimeAway):
        runtime.pull(_order())


@pytest.mark.parametrize(("status", "volumes"), [(400, False), (403, False), (422, False), (409, True)])
def test_only_an_answer_about_the_pod_decides_about_image_volumes(
    runtime: KubeletRuntime,
    cluster: FakeCluster,
    status: int,
    volumes: bool,  # noqa: FBT001  a row of the table
) -> None:
    cluster.busy = [status]
    runtime.pull(_order())
    assert [any("image" in volume for volume in pod["spec"]["volumes"]) for pod in cluster.created] == [volumes]


@pytest.mark.parametrize(("status", "expected"), [(503, RuntimeAway), (429, RuntimeAway), (404, TransientPullError)])
def test_a_pod_that_cannot_be_looked_at_is_no_failure_of_the_image(
    runtime: KubeletRuntime, cluster: FakeCluster, status: int, expected: type[PullFailed]
) -> None:
    def refuse(_pod: dict[str, Any]) -> dict[str, Any]:
        raise KubernetesCallFailed("not now", status=status)

    cluster.statuses = refuse
    with pytest.raises(expected):
        runtime.pull(_order())
    assert cluster.objects == {}


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"labels": {"app.kubernetes.io/instance": "one"}}, {"labels": {"app.kubernetes.io/instance": "two"}}),
        (
            {"ownerReferences": [{"kind": "DaemonSet", "name": "one", "controller": True}]},
            {"ownerReferences": [{"kind": "DaemonSet", "name": "two", "controller": True}]},
        ),
    ],
    ids=["labels", "no labels"],
)
def test_two_installations_in_a_namespace_leave_each_others_pods_alone(
    cluster: FakeCluster, clock: Any, one: dict[str, Any], two: dict[str, Any]
) -> None:
    def pull_with(owner: dict[str, Any]) -> dict[str, Any]:
        cluster.owner = owner
        made = KubeletRuntime(
            api=cluster, node="n1", namespace="ns", own_pod="own", image="", clock=clock, wait=lambda _event, _seconds: False
        )
        made.pull(_order())
        return cluster.created[-1]

    first = pull_with(one)
    cluster.objects[first["metadata"]["name"]] = first
    second = pull_with(two)
    assert cluster.objects == {first["metadata"]["name"]: first}
    assert second["metadata"]["name"] != first["metadata"]["name"]
    again = pull_with({**one, "name": "replaced"})
    assert again["metadata"]["name"] == first["metadata"]["name"], "also after the puller's pod was replaced"
    assert cluster.objects == {}


@pytest.mark.parametrize("volumes", [True, False])
def test_a_node_whose_processor_is_spoken_for_takes_its_pods_all_the_same(
    runtime: KubeletRuntime, cluster: FakeCluster, *, volumes: bool
) -> None:
    cluster.volumes = volumes
    runtime.pull(_order())
    (pod,) = cluster.created
    containers = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    assert {container["resources"]["requests"]["cpu"] for container in containers} == {"0"}


def test_a_pod_that_is_refused_says_why(runtime: KubeletRuntime, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> dict[str, Any]:
        raise KubernetesCallFailed("403 pods is forbidden: exceeded quota", status=403)

    monkeypatch.setattr(cluster, "create_pod", refuse)
    with pytest.raises(PermanentPullError, match="exceeded quota"):
        runtime.pull(_order())


def test_what_a_pod_has_proved_counts_until_the_status_has_caught_up(runtime: KubeletRuntime, clock: Any) -> None:
    runtime.pull(_order())
    assert [image.names for image in runtime.images()] == [{NAME}]
    clock.advance(121)
    assert runtime.images() == []


def test_with_a_full_status_the_proof_counts_for_an_hour(runtime: KubeletRuntime, cluster: FakeCluster, clock: Any) -> None:
    cluster.images = [{"names": [f"big-{number}"], "sizeBytes": 1} for number in range(50)]
    runtime.pull(_order())
    clock.advance(3500)
    assert any(NAME in image.names for image in runtime.images())
    clock.advance(101)
    assert not any(NAME in image.names for image in runtime.images())


def test_pods_of_a_puller_that_was_killed_are_removed_once(runtime: KubeletRuntime, cluster: FakeCluster) -> None:
    labels = {
        "enterprise-gateway.jupyter.org/role": "image-pull",
        "enterprise-gateway.jupyter.org/node": "n1",
        "app.kubernetes.io/instance": "one",
    }
    cluster.objects = {
        "old": {"metadata": {"name": "old", "labels": labels}},
        "elsewhere": {"metadata": {"name": "elsewhere", "labels": {**labels, "enterprise-gateway.jupyter.org/node": "n2"}}},
        "other": {"metadata": {"name": "other", "labels": {**labels, "app.kubernetes.io/instance": "two"}}},
    }
    runtime.images()
    assert cluster.deleted == [], "looking changes nothing"
    runtime.pull(_order())
    runtime.pull(_order())
    assert cluster.deleted.count("old") == 1
    assert cluster.objects.keys() == {"elsewhere", "other"}


def test_it_is_called_by_the_kubelets_version(runtime: KubeletRuntime) -> None:
    assert runtime.describe() == "kubelet v1.37.0 with containerd://2.4.0 (kubelet of n1)"

import pytest

from enterprise_gateway.cluster.diagnosis import Graces, cause_of_end, cause_of_failure, exit_status, waiting_words
from enterprise_gateway.cluster.pods import pod_state

GRACES = Graces(unschedulable=20, image_pull=15)


def container(**state):
    return {"containerStatuses": [{"name": "kernel", "state": state}]}


def waiting(reason, message=""):
    return container(waiting={"reason": reason, "message": message})


def ended(**how):
    return container(terminated={"exitCode": 1, **how})


@pytest.fixture
def state(pod):
    def make(**status):
        made = pod(metadata={"uid": "u"}, spec=status.pop("spec", None), **status)
        return pod_state(made)

    return make


@pytest.mark.parametrize(
    "reason",
    ["InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError", "RunContainerError"],
)
def test_what_can_never_start_is_told_at_once_in_kubernetes_words(state, reason):
    words = cause_of_failure(state(**waiting(reason, "its own words")), troubled_for=0, graces=GRACES)
    assert reason in words
    assert "its own words" in words


@pytest.mark.parametrize("words", ['failed: "x": not found', "pull access denied", "401 Unauthorized", "manifest unknown"])
def test_an_image_that_doesnt_exist_is_told_at_once(state, words):
    assert words in cause_of_failure(state(**waiting("ErrImagePull", words)), troubled_for=0, graces=GRACES)


def test_a_registry_that_may_be_busy_gets_its_grace(state):
    busy = state(**waiting("ImagePullBackOff", "connection refused"))
    assert cause_of_failure(busy, troubled_for=14, graces=GRACES) is None
    assert "connection refused" in cause_of_failure(busy, troubled_for=15, graces=GRACES)


def test_an_autoscaler_gets_its_grace_and_the_reason_is_visible_meanwhile(state):
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available"}
    pending = state(phase="Pending", conditions=[condition])
    assert cause_of_failure(pending, troubled_for=19, graces=GRACES) is None
    assert "0/2 nodes" in waiting_words(pending)
    assert "0/2 nodes" in cause_of_failure(pending, troubled_for=20, graces=GRACES)


def test_a_launcher_that_crashed_is_told_with_the_end_of_its_log(state):
    crashed = state(phase="Failed", **ended(exitCode=3, reason="Error", message="line\n" * 50 + "No module named ipykernel"))
    words = cause_of_failure(crashed, troubled_for=0, graces=GRACES)
    assert "status 3" in words
    assert words.endswith("No module named ipykernel")
    assert exit_status(crashed) == 3


def test_a_pod_that_was_deleted_while_it_started_is_told(pod):
    made = pod(metadata={"uid": "u", "deletionTimestamp": "now"})
    assert "deleted" in cause_of_failure(pod_state(made), troubled_for=0, graces=GRACES)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (ended(exitCode=137, reason="OOMKilled"), "out of memory: OOMKilled, it used more than its limit (2Gi)"),
        ({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}, "low on resource"),
        (
            {"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True", "message": "preempting"}]},
            "evicted from its node: preempting",
        ),
        (ended(exitCode=7, reason="Error"), "status 7"),
        (ended(exitCode=0, reason="Completed"), "status 0"),
        ({"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no devices"}, "no devices"),
    ],
)
def test_the_end_of_a_kernel_is_told_in_words(state, status, words):
    assert words in cause_of_end(state(**status))


@pytest.mark.parametrize(
    ("metadata", "status", "words"),
    [
        ({"deletionTimestamp": "now"}, {}, "was deleted"),
        (
            {"deletionTimestamp": "now"},
            {"conditions": [{"type": "DisruptionTarget", "status": "True", "message": "m"}]},
            "evicted",
        ),
        ({}, {}, "status 143"),
    ],
)
def test_the_signal_that_ends_a_kernel_isnt_the_cause_where_its_pod_was_taken_away(pod, metadata, status, words):
    made = pod(metadata={"uid": "u", **metadata})
    made["status"] = {**ended(exitCode=143, reason="Error"), **status}
    assert words in cause_of_end(pod_state(made))


def test_a_node_that_doesnt_report_any_more_ends_its_kernels(state):
    lost = state(
        phase="Running",
        spec={"nodeName": "node2"},
        conditions=[{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "True"}],
        **container(running={}),
    )
    assert lost.ended
    assert "node2 doesn't answer" in cause_of_end(lost)


def test_a_pod_that_waits_for_its_container_has_no_trouble_yet(state):
    assert waiting_words(state(phase="Pending", **waiting("ContainerCreating"))) is None


def test_the_first_container_is_the_kernels_whatever_order_the_status_has(pod):
    made = pod(metadata={"uid": "u"}, spec={"containers": [{"name": "kernel"}, {"name": "aide"}]})
    states = {"aide": {"terminated": {"exitCode": 0}}, "kernel": {"running": {}}}
    made["status"] = {
        "phase": "Running",
        "containerStatuses": [{"name": name, "state": state} for name, state in states.items()],
    }
    assert not pod_state(made).ended

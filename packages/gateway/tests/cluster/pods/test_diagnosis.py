import pytest

from enterprise_gateway.cluster.pods.diagnosis import (
    Graces,
    cause_of_end,
    cause_of_failure,
    exit_status,
    kind_of_trouble,
    waiting_words,
)
from enterprise_gateway.cluster.pods.state import pod_state
from enterprise_gateway_common import labels

_LIMIT = "OOMKilled, it used more than its limit (2Gi)."
KILLED_FOR_MEMORY = f"The kernel was ended because it ran out of memory: {_LIMIT} Its container used 2Gi at most."
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
        (
            ended(exitCode=139, reason="Error", message="launch-kernel: The kernel was ended by SIGSEGV.\nlast\nwords"),
            "The kernel was ended by SIGSEGV. It last wrote: last\nwords",
        ),
        # The node says the same of a container that lost one process long before its kernel ended by itself.
        (
            ended(exitCode=7, reason="OOMKilled", message="launch-kernel: The kernel exited with status 7."),
            "The kernel exited with status 7.",
        ),
        # Where a node ends a container's processes one by one, its own status knows nothing of memory.
        (ended(exitCode=137, reason="Error", message=f"launch-kernel: {KILLED_FOR_MEMORY}\nloading"), KILLED_FOR_MEMORY),
        (ended(exitCode=137, reason="OOMKilled", message=f"launch-kernel: {KILLED_FOR_MEMORY}"), KILLED_FOR_MEMORY),
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


SILENT = [{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "True"}]


def test_a_node_that_doesnt_report_any_more_doesnt_end_its_kernels(state):
    silent = state(phase="Running", spec={"nodeName": "node2"}, conditions=SILENT, **container(running={}))
    assert (silent.node_silent, silent.ended) == (True, False)
    assert "node2" in waiting_words(silent)


def test_a_pod_whose_gates_are_shut_says_nothing_of_its_node(state):
    shut = [{**SILENT[0], "reason": "ReadinessGatesNotReady"}, SILENT[1]]
    assert not state(phase="Running", conditions=shut, **container(running={})).node_silent


@pytest.mark.parametrize("deleted", [{}, {"deletionTimestamp": "now"}], ids=["and is there", "and is being deleted for it"])
def test_a_kernel_that_was_found_to_be_lost_has_ended_with_its_node(pod, deleted):
    written = {labels.LOSS_ANNOTATION: "2026-01-01T00:00:00Z"}
    made = pod(metadata={"uid": "u", "annotations": written, **deleted}, spec={"nodeName": "node2"})
    made["status"] = {"phase": "Running", **container(running={})}
    lost = pod_state(made)
    assert lost.ended
    assert "node2 doesn't answer" in cause_of_end(lost)
    assert exit_status(lost) != 0


def test_a_pod_that_no_node_has_yet_has_no_trouble_yet(state):
    assert waiting_words(state(phase="Pending")) is None


def test_a_pod_whose_node_may_be_pulling_its_image_says_so(state):
    on_node = {"nodeName": "node2"}
    creating = state(phase="Pending", spec=on_node, **waiting("ContainerCreating"))
    words = "Waiting for node node2 to begin the kernel's container; an image that isn't there yet is pulled first."
    assert waiting_words(creating) == waiting_words(state(phase="Pending", spec=on_node)) == words
    assert waiting_words(state(phase="Running", spec=on_node, **container(running={}))) is None


# ------------------------------------------------------------------------------------------------ several containers


MESH = {"name": "mesh", "resources": {"limits": {"memory": "64Mi"}}}
KERNEL = {"name": "kernel", "resources": {"limits": {"memory": "2Gi"}}, "env": [{"name": "KERNEL_ID", "value": "k1"}]}
BY_NAME = {labels.KERNEL_CONTAINER_ANNOTATION: "kernel"}


@pytest.fixture
def crowded(pod):
    """Return a function for the state of a pod to which admission added containers."""

    def make(*containers, annotations=BY_NAME, init=(), phase="Running", init_states=None, **states):
        spec = {"containers": list(containers or (MESH, KERNEL)), "initContainers": list(init)}
        own = {"name": "kernel", "namespace": "home", "uid": "u", "labels": {labels.KERNEL_ID: "k1"}}
        statuses = [{"name": name, **({"state": state} if "state" not in state else state)} for name, state in states.items()]
        init_statuses = [{"name": name, **told} for name, told in (init_states or {}).items()]
        made = pod(metadata={**own, "annotations": dict(annotations)}, spec=spec)
        made["status"] = {
            "phase": phase,
            "podIP": "10.0.0.9",
            "containerStatuses": statuses,
            "initContainerStatuses": init_statuses,
        }
        return pod_state(made)

    return make


def exited(code, **how):
    return {"terminated": {"exitCode": code, **how}}


@pytest.mark.parametrize("annotations", [BY_NAME, {}], ids=["written on the pod", "of an older gateway"])
@pytest.mark.parametrize("order", [(MESH, KERNEL), (KERNEL, MESH)], ids=["first", "last"])
def test_the_kernels_end_is_its_own_containers_wherever_admission_puts_others(crowded, annotations, order):
    died = crowded(*order, annotations=annotations, mesh={"running": {}}, kernel=exited(3, reason="Error", message="bye"))
    assert died.ended
    assert cause_of_end(died) == "The kernel exited with status 3. It last wrote: bye"
    assert exit_status(died) == 3


@pytest.mark.parametrize("annotations", [BY_NAME, {}], ids=["written on the pod", "of an older gateway"])
def test_the_limit_that_a_kernel_used_up_is_its_own(crowded, annotations):
    died = crowded(annotations=annotations, mesh={"running": {}}, kernel=exited(137, reason="OOMKilled"))
    assert "its limit (2Gi)" in cause_of_end(died)


def test_the_limit_of_the_whole_pod_binds_a_kernel_that_has_none(pod):
    made = pod(metadata={"uid": "u"}, spec={"containers": [{"name": "kernel"}], "resources": {"limits": {"memory": "8Gi"}}})
    made["status"] = ended(exitCode=137, reason="OOMKilled")
    assert "its limit (8Gi)" in cause_of_end(pod_state(made))


@pytest.mark.parametrize("code", [0, 1])
def test_the_end_of_another_container_isnt_the_kernels(crowded, code):
    alone = crowded(mesh=exited(code), kernel={"running": {}})
    assert (alone.running, alone.ended) == (True, False)


def test_a_pod_without_the_annotation_and_the_id_has_its_kernel_in_the_first_container(crowded):
    died = crowded({"name": "a"}, {"name": "b"}, annotations={}, a=exited(3), b={"running": {}})
    assert exit_status(died) == 3


def test_a_name_that_no_container_has_is_as_good_as_none(crowded):
    died = crowded(annotations={labels.KERNEL_CONTAINER_ANNOTATION: "gone"}, mesh={"running": {}}, kernel=exited(3))
    assert exit_status(died) == 3


def test_an_image_of_another_container_that_cant_be_pulled_ends_a_start_under_that_containers_name(crowded):
    waits = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
    words = cause_of_failure(crowded(phase="Pending", mesh=waits, kernel={"running": {}}), troubled_for=0, graces=GRACES)
    assert words == "The container 'mesh' can't start: ErrImagePull: not found"


FETCH = {"name": "fetch"}
SIDECAR = {"name": "proxy", "restartPolicy": "Always"}
INITIALIZING = {"waiting": {"reason": "PodInitializing"}}


def test_an_init_container_that_fails_ends_a_start_with_its_name_its_status_and_its_last_words(crowded):
    told = {"fetch": {"state": exited(4, reason="Error", message="connecting\nno such bucket\n")}}
    failed = crowded(KERNEL, init=[FETCH], init_states=told, phase="Failed", kernel=INITIALIZING)
    words = cause_of_failure(failed, troubled_for=0, graces=GRACES)
    assert words == "The init container 'fetch' exited with status 4. It last wrote: connecting\nno such bucket"


def test_an_init_container_that_runs_out_of_memory_says_so(crowded):
    limited = {**FETCH, "resources": {"limits": {"memory": "32Mi"}}}
    told = {"fetch": {"state": exited(137, reason="OOMKilled")}}
    failed = crowded(KERNEL, init=[limited], init_states=told, phase="Failed", kernel=INITIALIZING)
    assert "'fetch' exited with status 137 (OOMKilled, it used more than its limit (32Mi))." in cause_of_end(failed)


def test_the_init_container_that_failed_is_named_and_not_one_that_had_ended_well(crowded):
    told = {"fetch": {"state": exited(0)}, "unpack": {"state": exited(2)}}
    failed = crowded(KERNEL, init=[FETCH, {"name": "unpack"}], init_states=told, phase="Failed", kernel=INITIALIZING)
    assert cause_of_end(failed) == "The init container 'unpack' exited with status 2."


@pytest.mark.parametrize(
    ("init", "told", "kernel", "subject"),
    [
        (
            [FETCH],
            {"fetch": {"state": exited(128, reason="StartError", message="no such file")}},
            INITIALIZING,
            "init container 'fetch'",
        ),
        ([], {}, exited(128, reason="StartError", message="no such file"), "kernel"),
    ],
    ids=["init", "kernel"],
)
def test_a_command_that_isnt_in_an_image_isnt_told_as_words_of_a_program(crowded, init, told, kernel, subject):
    failed = crowded(KERNEL, init=init, init_states=told, phase="Failed", kernel=kernel)
    assert cause_of_end(failed) == f"The {subject} can't start: StartError: no such file"


def test_an_image_of_an_init_container_that_doesnt_exist_ends_a_start_at_once(crowded):
    told = {"fetch": {"state": {"waiting": {"reason": "ErrImagePull", "message": "x: not found"}}}}
    starting = crowded(KERNEL, init=[FETCH], init_states=told, phase="Pending", kernel=INITIALIZING)
    words = cause_of_failure(starting, troubled_for=0, graces=GRACES)
    assert words == "The init container 'fetch' can't start: ErrImagePull: x: not found"
    assert kind_of_trouble(starting) == "pulling"


def test_an_init_container_that_runs_is_what_a_start_waits_for(crowded):
    told = {"fetch": {"state": exited(0)}, "unpack": {"state": {"running": {}}}}
    starting = crowded(KERNEL, init=[FETCH, {"name": "unpack"}], init_states=told, phase="Pending", kernel=INITIALIZING)
    assert waiting_words(starting) == "Waiting for the init container 'unpack': it hasn't finished yet."
    assert cause_of_failure(starting, troubled_for=1000, graces=GRACES) is None


def test_a_sidecar_that_hasnt_passed_its_probe_is_what_a_start_waits_for(crowded):
    told = {"proxy": {"state": {"running": {}}, "started": False}}
    starting = crowded(KERNEL, init=[SIDECAR], init_states=told, phase="Pending", kernel=INITIALIZING)
    assert waiting_words(starting) == "Waiting for the sidecar container 'proxy': its startup probe hasn't succeeded yet."


def test_a_sidecar_that_runs_is_waited_for_no_longer(crowded):
    told = {"proxy": {"state": {"running": {}}, "started": True}}
    starting = crowded(
        KERNEL, init=[SIDECAR], init_states=told, phase="Pending", kernel={"waiting": {"reason": "PodInitializing"}}
    )
    assert waiting_words(starting) is None


@pytest.mark.parametrize(
    "ends",
    [exited(1), {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}],
    ids=["has just ended", "is to be started again"],
)
def test_a_sidecar_that_is_started_again_and_again_beside_a_kernel_is_nothing_to_it(crowded, ends):
    told = {"proxy": {"state": ends, "lastState": exited(1)}}
    alive = crowded(KERNEL, init=[SIDECAR], init_states=told, kernel={"running": {}})
    assert (alive.running, alive.ended) == (True, False)


def test_a_container_beside_the_kernel_that_is_started_again_and_again_doesnt_end_a_start(crowded):
    crashing = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": exited(1)}
    starting = crowded(
        {**MESH, "restartPolicy": "Always"}, KERNEL, mesh=crashing, kernel={"waiting": {"reason": "ContainerCreating"}}
    )
    assert cause_of_failure(starting, troubled_for=1000, graces=GRACES) is None


def test_a_sidecar_that_keeps_the_kernel_from_starting_by_its_crashes_ends_the_start_with_its_last_words(crowded):
    waits = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    told = {"proxy": {"state": waits, "lastState": exited(5, reason="Error", message="no config")}}
    starting = crowded(KERNEL, init=[SIDECAR], init_states=told, phase="Pending", kernel=INITIALIZING)
    said = "The sidecar container 'proxy' ends again and again. It exited with status 5. It last wrote: no config"
    assert cause_of_failure(starting, troubled_for=0, graces=GRACES) == said
    assert waiting_words(starting).startswith("Waiting for the sidecar container 'proxy', which ends again and again. It exited")


def test_sidecars_that_end_after_the_kernel_arent_its_cause(crowded):
    told = {"proxy": {"state": exited(143, reason="Error")}}
    died = crowded(KERNEL, init=[SIDECAR], init_states=told, phase="Failed", kernel=exited(7, reason="Error"))
    assert cause_of_end(died) == "The kernel exited with status 7."


def test_without_a_name_the_first_container_is_the_kernels_whatever_order_the_status_has(pod):
    made = pod(metadata={"uid": "u"}, spec={"containers": [{"name": "kernel"}, {"name": "aide"}]})
    states = {"aide": {"terminated": {"exitCode": 0}}, "kernel": {"running": {}}}
    made["status"] = {
        "phase": "Running",
        "containerStatuses": [{"name": name, "state": state} for name, state in states.items()],
    }
    assert not pod_state(made).ended

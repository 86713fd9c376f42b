"""What users are told of executors that don't come."""

import threading

import pytest

from kernel_launchers.spark import executors
from kernel_launchers.spark.executors import ExecutorWatch, waiting_for


def pod(name, **status):
    return {"metadata": {"name": name}, "status": status}


UNSCHEDULABLE = [{"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available: 2 Insufficient memory."}]


def test_pods_that_no_node_takes_are_told_together_in_kubernetes_words():
    pods = [pod(f"exec-{number}", phase="Pending", conditions=UNSCHEDULABLE) for number in range(1, 6)]
    assert waiting_for(pods) == ["0/2 nodes are available: 2 Insufficient memory. (exec-1, exec-2, exec-3 and 2 more)"]


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"waiting": {"reason": "ErrImagePull", "message": "not found"}}, ["ErrImagePull: not found (exec-1)"]),
        ({"waiting": {"reason": "ContainerCreating"}}, []),
        ({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, ["ended with status 137 (OOMKilled) (exec-1)"]),
        ({"running": {}}, []),
    ],
)
def test_a_container_that_does_not_run_says_why(state, told):
    assert waiting_for([pod("exec-1", phase="Pending", containerStatuses=[{"state": state}])]) == told


def test_a_pod_that_kubernetes_gave_up_says_why():
    assert waiting_for([pod("exec-1", phase="Failed", message="The node was low on memory.")]) == [
        "The node was low on memory. (exec-1)"
    ]


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(executors, "_PATIENCE_SECONDS", 0.01)


def test_a_cell_that_waits_is_told_each_cause_once(impatient):
    asked, said, often = [], [], threading.Event()

    def causes():
        asked.append(None)
        if len(asked) == 3:
            often.set()
        return ["no room"]

    watch = ExecutorWatch(stalled=lambda: True, causes=causes, say=said.append)
    watch.cell_begins()
    assert often.wait(10)
    watch.cell_ended()
    assert said == ["Spark has no executor yet: no room"]


def test_nothing_is_asked_of_kubernetes_while_executors_work(impatient):
    looked = threading.Event()

    def stalled():
        looked.set()
        return False

    watch = ExecutorWatch(stalled=stalled, causes=lambda: pytest.fail("asked"), say=lambda _text: None)
    watch.cell_begins()
    assert looked.wait(10)
    watch.cell_ended()

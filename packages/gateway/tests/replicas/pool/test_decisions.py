from datetime import UTC, datetime, timedelta

import pytest

from enterprise_gateway.cluster.pods.state import pod_state
from enterprise_gateway.replicas.pool.decisions import PoolAim, decide, superseded
from enterprise_gateway_common import labels

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pod(name, *, age=5, ready=True, fingerprint="f", image="sha256:1", ended=False, deleting=False):
    state = {"terminated": {"exitCode": 1, "message": "boom"}} if ended else {"running": {}}
    metadata = {
        "name": name,
        "namespace": "kernels",
        "uid": name,
        "labels": {labels.POOL_FINGERPRINT: fingerprint},
        "annotations": {labels.POOL_READY_ANNOTATION: "now"} if ready else {},
        "creationTimestamp": (NOW - timedelta(seconds=age)).isoformat(),
        **({"deletionTimestamp": NOW.isoformat()} if deleting else {}),
    }
    status = {
        "phase": "Running",
        "podIP": "10.0.0.9",
        "containerStatuses": [{"name": "kernel", "imageID": image, "state": state}],
    }
    return pod_state({"metadata": metadata, "spec": {"containers": [{"name": "kernel"}]}, "status": status})


def steps(*pods, wanted=2, fingerprint="f", making=0, old=frozenset(), at_once=4):
    aim = PoolAim(fingerprint=fingerprint, wanted=wanted, start_seconds=60, at_once=at_once)
    decided = decide(pods, aim, old_images=old, making=making, now=NOW)
    return decided.make, {removal.pod.name: removal for removal in decided.remove}


def test_what_is_missing_is_made():
    assert steps(pod("a")) == (1, {})
    assert steps(pod("a"), pod("b")) == (0, {})


def test_what_is_being_made_is_not_made_again():
    assert steps(pod("a"), making=1)[0] == 0
    assert steps(pod("a", ready=False), pod("b", ready=False))[0] == 0


def test_only_so_many_are_on_their_way_at_once():
    assert steps(pod("a", ready=False), wanted=20, making=1)[0] == 2


def test_surplus_goes_the_youngest_that_isnt_ready_first():
    _, removed = steps(pod("a", age=9), pod("b", age=3, ready=False), pod("c", age=6), wanted=2)
    assert set(removed) == {"b"}
    assert not removed["b"].failed


def test_a_pod_that_goes_is_replaced_and_counts_no_more():
    assert steps(pod("a", deleting=True), pod("b"))[0] == 1


@pytest.mark.parametrize(
    ("made", "words", "failed"),
    [
        ({"fingerprint": "older"}, "has changed", False),
        ({"ended": True}, "boom", True),
        ({"image": "sha256:0"}, "followed by another", False),
        ({"ready": False, "age": 61}, "wasn't ready within 60 seconds", True),
    ],
)
def test_a_pod_that_is_of_no_use_is_taken_away_and_replaced(made, words, failed):
    make, removed = steps(pod("a", **made), pod("b"), old=frozenset({"sha256:0"}))
    assert make == 1
    assert words in removed["a"].reason
    assert removed["a"].failed is failed


def test_where_no_pool_can_be_all_pods_go():
    assert steps(pod("a"), wanted=0, fingerprint="")[1].keys() == {"a"}


def test_an_image_is_old_when_another_of_its_name_came_after_it():
    pods = [pod("a", age=90, image="sha256:1"), pod("b", age=50, image="sha256:2"), pod("c", age=10, image="sha256:1")]
    assert superseded(pods) == {"sha256:1"}
    assert superseded([pod("a"), pod("b")]) == frozenset()

import asyncio

import pytest

from enterprise_gateway.cluster.pods.diagnosis import cause_of_end
from enterprise_gateway.cluster.pods.last_words import with_last_words
from enterprise_gateway.cluster.pods.state import pod_state

WRITTEN = "bootstrap begins\nNo module named 'ipykernel'\n"


@pytest.fixture
def last_message(cluster_type, fault_type, pod):
    """Return what is known of a kernel's last lines, and how often its log was asked for."""

    def run(*, refused=None, **how):
        async def with_cluster():
            async with cluster_type() as cluster:
                cluster.api.logs = WRITTEN
                if refused is not None:
                    cluster.api.fault = lambda _number, _request: fault_type(status=refused)
                ended = pod(
                    metadata={"uid": "u"}, phase="Succeeded", containerStatuses=[{"name": "kernel", "state": {"terminated": how}}]
                )
                state = await with_last_words(pod_state(ended), cluster.client)
                asked = [path for _, path in cluster.api.requests if path.endswith("/log")]
                return state.kernel.end.message, len(asked)

        return asyncio.run(with_cluster())

    return run


def test_a_kernel_that_claims_to_have_ended_well_has_its_last_lines_from_the_log(last_message):
    assert last_message(exitCode=0) == (WRITTEN, 1)


@pytest.mark.parametrize("how", [{"exitCode": 0, "message": "bye"}, {"exitCode": 1}])
def test_what_the_kubelet_tells_is_not_asked_for_again(last_message, how):
    assert last_message(**how) == (how.get("message", ""), 0)


@pytest.mark.parametrize("refused", [403, 500, 0])
def test_a_log_that_cant_be_had_is_done_without(last_message, refused):
    message, asked = last_message(exitCode=0, refused=refused)
    assert message == ""
    assert asked


def test_an_init_container_that_the_kubelet_tells_no_lines_of_has_them_from_the_log(cluster_type, pod):
    async def scenario():
        async with cluster_type() as cluster:
            cluster.api.logs = "no such bucket"
            ended = pod(
                metadata={"uid": "u"},
                spec={"initContainers": [{"name": "fetch"}]},
                phase="Failed",
                initContainerStatuses=[{"name": "fetch", "state": {"terminated": {"exitCode": 4}}}],
                containerStatuses=[{"name": "kernel", "state": {"waiting": {"reason": "PodInitializing"}}}],
            )
            return cause_of_end(await with_last_words(pod_state(ended), cluster.client))

    words = asyncio.run(scenario())
    assert words == "The init container 'fetch' exited with status 4. It last wrote: no such bucket"

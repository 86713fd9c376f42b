"""What a container wrote last, where it ended a start before the kernel ever answered.

The kubelet tells the last lines of a container that failed, where the container asks for them. Launchers that are shell
scripts often hide the failure behind a status of 0, and containers that admission adds ask for nothing; their lines are in
the log only, and the log ends with the pod.
"""

from dataclasses import replace

from enterprise_gateway.cluster.api.client import ClusterClient
from enterprise_gateway.cluster.pods.containers import ContainerState
from enterprise_gateway.cluster.pods.diagnosis import failed_container
from enterprise_gateway.cluster.pods.state import PodState
from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import KubernetesError

__all__ = ["with_last_words"]

_SECONDS = 3.0
_LINES = 12


async def with_last_words(state: PodState, client: ClusterClient) -> PodState:
    """Return a pod that ended with the last lines of what ended it, as far as the cluster has and gives them."""
    failed = failed_container(state)
    if failed is None or failed.end is None or failed.end.message:
        return state
    if failed.name == state.kernel_container and failed.end.exit_code != 0:
        # Its pod asks the kubelet for these lines, so there are none.
        return state
    try:
        lines = await client.log(state.namespace, state.name, container=failed.name, lines=_LINES, deadline=Deadline(_SECONDS))
    except KubernetesError:
        # They only add to what is known; a gateway without the right to read them does without.
        return state
    told = replace(failed, end=replace(failed.end, message=lines))

    def with_told(containers: tuple[ContainerState, ...]) -> tuple[ContainerState, ...]:
        return tuple(told if container is failed else container for container in containers)

    return replace(state, containers=with_told(state.containers), init_containers=with_told(state.init_containers))

"""What a kernel wrote last, where it ended well before it ever answered.

The kubelet tells the last lines of a container that failed. Launchers that are shell scripts often hide the failure behind
a status of 0, so their lines are in the log only, and the log ends with the pod.
"""

from dataclasses import replace

from enterprise_gateway.cluster.client import ClusterClient
from enterprise_gateway.cluster.deadline import Deadline
from enterprise_gateway.cluster.pods import PodState
from enterprise_gateway.errors import KubernetesError

__all__ = ["with_last_words"]

_SECONDS = 3.0
_LINES = 12


async def with_last_words(state: PodState, client: ClusterClient) -> PodState:
    """Return a pod that ended with its kernel's last lines, as far as the cluster has and gives them."""
    if not state.containers:
        return state
    kernel = state.containers[0]
    if kernel.exit_code != 0 or kernel.ended_message:
        return state
    try:
        lines = await client.log(state.namespace, state.name, container=kernel.name, lines=_LINES, deadline=Deadline(_SECONDS))
    except KubernetesError:
        # They only add to what is known; a gateway without the right to read them does without.
        return state
    return replace(state, containers=(replace(kernel, ended_message=lines), *state.containers[1:]))

"""What the cluster says of an object in its events; asked for only when something is wrong."""

from enterprise_gateway.cluster.api.client import ClusterClient
from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import KubernetesError

__all__ = ["last_warning"]

_SECONDS = 5.0


async def last_warning(client: ClusterClient, *, namespace: str, uid: str) -> str:
    """Return the newest warning of an object; empty where there is none or it can't be asked for."""
    selector = f"involvedObject.uid={uid},type=Warning"
    try:
        events, _ = await client.list("Event", namespace, field_selector=selector, deadline=Deadline(_SECONDS))
    except KubernetesError:
        # They only add to what is known; a gateway without the right to read them does without.
        return ""
    if not events:
        return ""
    newest = max(events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return f"{newest.get('reason', '')}: {newest.get('message', '')}"

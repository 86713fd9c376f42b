"""What the executors of a session wait for, in Kubernetes' words."""

import json
import logging
import os
import ssl
import threading
import urllib.parse
import urllib.request
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Set

from kernel_launchers.spark.pod import SERVICE_ACCOUNT, namespace

__all__ = ["ExecutorWatch", "causes_of_waiting", "read_pods", "waiting_for"]

_PATIENCE_SECONDS = 5.0
_ANSWER_SECONDS = 5.0
_SHOWN_NAMES = 3
# What every pod waits for.
_ORDINARY = frozenset({"ContainerCreating", "PodInitializing"})


def waiting_for(pods: "Iterable[Mapping[str, Any]]") -> List[str]:
    """Return why executors don't run, one line a cause, with the pods that it holds up."""
    held: Dict[str, List[str]] = {}
    for pod in pods:
        cause = _cause(pod.get("status") or {})
        if cause:
            held.setdefault(cause, []).append(str(pod["metadata"]["name"]))
    return [f"{cause} ({_listed(names)})" for cause, names in held.items()]


def _cause(status: "Mapping[str, Any]") -> str:
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason") or "")
    for container in status.get("containerStatuses") or []:
        state = container.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        if waiting and waiting.get("reason") not in _ORDINARY:
            return ": ".join(str(waiting[key]) for key in ("reason", "message") if waiting.get(key))
        if ended.get("exitCode"):
            return f"ended with status {ended['exitCode']} ({ended.get('reason', 'Error')})"
    return str(status.get("message") or "") if status.get("phase") == "Failed" else ""


def _listed(names: List[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def read_pods(*, home: str, kernel_id: str) -> "List[Dict[str, Any]]":
    """Return the pods of a kernel's executors in its namespace, by the kernel's own account; none where it has no token.

    Raises
    ------
    OSError
        Kubernetes doesn't answer, or refuses.
    """
    if not os.path.isfile(f"{SERVICE_ACCOUNT}/token"):  # noqa: PTH113  a path of the pod
        return []
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    with open(f"{SERVICE_ACCOUNT}/token", encoding="utf-8") as file:  # noqa: PTH123  a path of the pod
        token = file.read().strip()
    selector = urllib.parse.urlencode({"labelSelector": f"kernel_id={kernel_id},component=worker"})
    request = urllib.request.Request(
        f"https://{f'[{host}]' if ':' in host else host}:{port}/api/v1/namespaces/{home}/pods?{selector}",
        headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
    )
    trusted = ssl.create_default_context(cafile=f"{SERVICE_ACCOUNT}/ca.crt")
    with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS, context=trusted) as answer:  # noqa: S310  as above
        return list(json.load(answer)["items"])


class ExecutorWatch:
    """Tells the user of a cell that waits for executors what those wait for.

    Parameters
    ----------
    stalled
        Tells whether something waits for executors, of which there is none.
    causes
        Returns what they wait for.
    say
        Told each cause once a cell.
    """

    def __init__(self, *, stalled: Callable[[], bool], causes: Callable[[], List[str]], say: Callable[[str], object]) -> None:
        self._stalled = stalled
        self._causes = causes
        self._say = say
        self._ended: Optional[threading.Event] = None

    def cell_begins(self) -> None:
        """Begin to look."""
        self.cell_ended()
        self._ended = threading.Event()
        threading.Thread(target=self._watch, args=(self._ended,), name="Spark executors", daemon=True).start()

    def cell_ended(self) -> None:
        """Look no more."""
        if self._ended is not None:
            self._ended.set()

    def _watch(self, ended: threading.Event) -> None:
        said: Set[str] = set()
        while not ended.wait(_PATIENCE_SECONDS):
            try:
                causes = self._causes() if self._stalled() else []
            except Exception:  # whatever py4j says of a JVM that ends
                logging.getLogger(__name__).warning("What executors wait for can't be told", exc_info=True)
                return
            for cause in causes:
                if cause not in said and not ended.is_set():
                    said.add(cause)
                    self._say(f"Spark has no executor yet: {cause}")


def causes_of_waiting(so_far: Callable[[], str] = lambda: "") -> List[str]:
    """Return what this kernel's executors wait for; where there are none, why Spark couldn't make them.

    Parameters
    ----------
    so_far
        Returns the last exception that Java has logged; empty for none.

    Raises
    ------
    OSError
        Kubernetes doesn't answer, or refuses.
    """
    pods = read_pods(home=namespace(os.environ), kernel_id=os.environ.get("KERNEL_ID", ""))
    logged = "" if pods else so_far()
    return waiting_for(pods) or ([logged] if logged else [])

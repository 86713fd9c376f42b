"""What the gateway counts for Prometheus: every metric of this package, declared in one place.

Label values that are known beforehand are created at once, so that a counter exists before the first event and a rate
over it is right. No label ever holds a user's name or a kernel's id: there is no bound on how many of those there are.
"""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

__all__ = ["GatewayMetrics"]

_NAMESPACE = "enterprise_gateway"
_LAUNCH_BUCKETS = (0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60, 120, 180, 300, 600, float("inf"))
_CHANNELS = ("shell", "control", "stdin", "iopub")
_DROPS = (
    "invalid_signature",
    "kernel_gone",
    "log_full",
    "malformed_from_client",
    "malformed_from_kernel",
    "not_allowed",
    "rate_limit",
    "too_large_for_client",
    "unknown_channel",
    "waiting_full",
)


class GatewayMetrics:
    """Counts what happens; knows nothing of who tells it.

    Parameters
    ----------
    version
        The gateway's version, for `enterprise_gateway_info`.
    """

    def __init__(self, *, version: str) -> None:
        # A second time series for each counter that says when it was made: nobody asks for it, everybody stores it.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no annotation for it
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._info = Gauge("info", "Version of this gateway", ("version",), namespace=_NAMESPACE, registry=self._registry)
        self._info.labels(version).set(1)
        self._launches = Histogram(
            "kernel_launch_duration_seconds",
            "Time from an accepted request to a kernel that answers, or to the failure: in all, and by phase",
            ("kernelspec", "phase", "outcome"),
            buckets=_LAUNCH_BUCKETS,
            namespace=_NAMESPACE,
            registry=self._registry,
        )
        self._launch_failures = self._counter("kernel_launch_failures_total", "Starts that failed", "reason")
        self._culled = self._counter("kernels_culled_total", "Kernels shut down because nobody used them", "reason")
        for reason in ("idle", "unclaimed"):
            self._culled.labels(reason)
        self._pending = self._counter("pending_starts_total", "Starts that went on after their client was answered", "outcome")
        for outcome in ("started", "failed", "deleted"):
            self._pending.labels(outcome)
        self._restarts = self._counter("kernel_restarts_total", "Kernels started again", "cause")
        for cause in ("died", "requested"):
            self._restarts.labels(cause)
        self._websockets = Gauge("websocket_connections", "Open websockets", namespace=_NAMESPACE, registry=self._registry)
        self._messages = Counter(
            "websocket_messages_total",
            "Messages carried, to kernel or to client",
            ("direction", "channel"),
            namespace=_NAMESPACE,
            registry=self._registry,
        )
        self._message_counts = {
            (direction, channel): self._messages.labels(direction, channel)
            for direction in ("to_kernel", "to_client")
            for channel in _CHANNELS
        }
        self._log_bytes = Gauge(
            "message_log_bytes",
            "Messages of kernels that are kept for clients which are away or slow",
            namespace=_NAMESPACE,
            registry=self._registry,
        )
        self._execution_bytes = Gauge(
            "execution_record_bytes",
            "What is kept of what kernels ran: code and outputs",
            namespace=_NAMESPACE,
            registry=self._registry,
        )
        self._dropped = self._counter("messages_dropped_total", "Messages that weren't delivered", "reason")
        for reason in _DROPS:
            self._dropped.labels(reason)
        self._requests = Histogram(
            "http_request_duration_seconds",
            "Time to answer a request; the route is its pattern",
            ("method", "route", "code"),
            namespace=_NAMESPACE,
            registry=self._registry,
        )
        self._loop_lag = Gauge(
            "event_loop_lag_seconds",
            "Longest delay of the event loop within the last minute",
            namespace=_NAMESPACE,
            registry=self._registry,
        )

    def _counter(self, name: str, text: str, label: str) -> Counter:
        return Counter(name, text, (label,), namespace=_NAMESPACE, registry=self._registry)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    # -------------------------------------------------------------------------------------------------------- kernels

    def observe_kernels(self, states: Callable[[], Iterable[tuple[str, str]]]) -> None:
        """Count kernels at each scrape; `states` returns kernelspec and execution state of each."""
        self._registry.register(_KernelCollector(states))

    def observe_usage(self, usage: Callable[[], Iterable[tuple[str, int, float]]]) -> None:
        """Add up at each scrape what kernels use; `usage` returns kernelspec, bytes of memory and cores of each."""
        self._registry.register(_UsageCollector(usage))

    def observe_pool(self, states: Callable[[], Iterable[tuple[str, str, int]]]) -> None:
        """Count pods in waiting at each scrape; `states` returns kernelspec, state and number."""
        self._registry.register(_PoolCollector(states))

    def observe_leader(self, leads: Callable[[], bool]) -> None:
        """Show at each scrape whether this replica acts for all of them."""
        text = "Whether this replica culls kernels, restarts dead ones and cleans up orphans: 1, or 0 where another one does"
        Gauge("leader", text, namespace=_NAMESPACE, registry=self._registry).set_function(lambda: float(leads()))

    def observe_loop_lag(self, lag: Callable[[], float]) -> None:
        """Show at each scrape by how much the event loop was late."""
        self._loop_lag.set_function(lag)

    def launch_finished(self, kernelspec: str, seconds: float, outcome: str, phases: Mapping[str, float]) -> None:
        """Count a start that is over; `phases` are the seconds of its parts."""
        result = "success" if outcome == "success" else "failure"
        for phase, part in {"total": seconds, **phases}.items():
            self._launches.labels(kernelspec, phase, result).observe(part)
        if outcome != "success":
            self._launch_failures.labels(outcome).inc()

    def pending_start_ended(self, outcome: str) -> None:
        """Count a start whose client was answered before: `started`, `failed` or `deleted`."""
        self._pending.labels(outcome).inc()

    def kernel_culled(self, reason: str) -> None:
        """Count a kernel that was culled: because it was idle, or nobody ever asked for it."""
        self._culled.labels(reason).inc()

    def kernel_restarted(self, died: bool) -> None:  # noqa: FBT001  it is the event's only fact
        """Count a restart."""
        self._restarts.labels("died" if died else "requested").inc()

    # ----------------------------------------------------------------------------------------------- websocket, HTTP

    def connection_opened(self) -> None:
        """Count an open websocket."""
        self._websockets.inc()

    def connection_closed(self) -> None:
        """Count one less."""
        self._websockets.dec()

    def message(self, direction: str, channel: str) -> None:
        """Count a message; `direction` is `to_kernel` or `to_client`."""
        self._message_counts[direction, channel].inc()

    def log_bytes(self, change: int) -> None:
        """Add to the number of bytes that are kept in kernels' logs."""
        self._log_bytes.inc(change)

    def execution_bytes(self, change: int) -> None:
        """Add to the number of bytes that are kept of kernels' executions."""
        self._execution_bytes.inc(change)

    def dropped(self, reason: str) -> None:
        """Count a message that was not passed on."""
        self._dropped.labels(reason).inc()

    def request_finished(self, method: str, route: str, code: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(method, route, str(code)).observe(seconds)


class _KernelCollector(Collector):
    def __init__(self, states: Callable[[], Iterable[tuple[str, str]]]) -> None:
        self._states = states

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily(f"{_NAMESPACE}_kernels", "Kernels that exist", labels=("kernelspec", "state"))
        counts: dict[tuple[str, str], int] = {}
        for key in self._states():
            counts[key] = counts.get(key, 0) + 1
        for key, count in counts.items():
            family.add_metric(key, count)
        yield family


class _UsageCollector(Collector):
    def __init__(self, usage: Callable[[], Iterable[tuple[str, int, float]]]) -> None:
        self._usage = usage

    def collect(self) -> Iterable[GaugeMetricFamily]:
        memory = GaugeMetricFamily(f"{_NAMESPACE}_kernels_memory_bytes", "Memory that kernels use", labels=("kernelspec",))
        cores = GaugeMetricFamily(f"{_NAMESPACE}_kernels_cpu_cores", "Processor cores that kernels use", labels=("kernelspec",))
        sums: dict[str, tuple[int, float]] = {}
        for kernelspec, used_bytes, used_cores in self._usage():
            so_far = sums.get(kernelspec, (0, 0.0))
            sums[kernelspec] = so_far[0] + used_bytes, so_far[1] + used_cores
        for kernelspec, (used_bytes, used_cores) in sums.items():
            memory.add_metric((kernelspec,), used_bytes)
            cores.add_metric((kernelspec,), used_cores)
        yield memory
        yield cores


class _PoolCollector(Collector):
    def __init__(self, states: Callable[[], Iterable[tuple[str, str, int]]]) -> None:
        self._states = states

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            f"{_NAMESPACE}_pool_pods", "Pods that wait for a start, or are about to", labels=("kernelspec", "state")
        )
        for kernelspec, state, count in self._states():
            family.add_metric((kernelspec, state), count)
        yield family

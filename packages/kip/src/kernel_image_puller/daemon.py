"""The program that runs until it is told to stop."""

import logging
from collections.abc import Callable, Mapping

from kernel_image_puller.clock import SystemClock
from kernel_image_puller.errors import ConfigurationError
from kernel_image_puller.logs import fields
from kernel_image_puller.reporting.http import PageServer
from kernel_image_puller.reporting.metrics import PullerMetrics
from kernel_image_puller.reporting.pages import Pages
from kernel_image_puller.settings import Settings
from kernel_image_puller.threads import Crashed, Inbox, Reload, Stop, Workers
from kernel_image_puller.wiring import Parts, build

__all__ = ["run_daemon"]

_LOGGER = logging.getLogger(__name__)
_FAREWELL_SECONDS = 0.7
_STALL_MARGIN_SECONDS = 120.0


class _LateCall:
    """A call whose target is known only after the parts are built that make it."""

    def __init__(self) -> None:
        self.target: Callable[[], None] = lambda: None

    def __call__(self) -> None:
        self.target()


def run_daemon(settings: Settings, environment: Mapping[str, str], inbox: Inbox) -> int:
    """Pull images until the inbox says stop; return the program's exit status.

    Raises
    ------
    ConfigurationError
        A setting can't be used here.
    """
    metrics = PullerMetrics()
    changed = _LateCall()
    parts = build(
        settings,
        environment,
        clock=SystemClock(),
        changed=changed,
        observe=metrics.observe_pull,
        fetched=metrics.observe_fetch,
    )
    metrics.show(
        statuses=parts.schedule.snapshot,
        queue_depth=parts.schedule.queue_depth,
        first_sync=parts.rounds.first_sync_done,
        last_sync=lambda: parts.rounds.last_sync,
        per_image=settings.metrics_per_image,
    )
    workers = Workers(inbox=inbox)
    closers: list[Callable[[], None]] = [parts.rounds.stop, parts.schedule.close]
    if parts.api is not None and settings.pod_name and settings.pod_namespace:
        closers.append(_start_reporter(parts, workers, changed))
    if settings.http_port:
        closers.append(_start_pages(parts, metrics, workers))
    workers.start("rounds", parts.rounds.run)
    # One thread more than pulls at a time: it serves a registry from which nothing is being pulled.
    for number in range(settings.num_pullers + 1):
        workers.start(f"puller-{number}", parts.puller.run)
    _LOGGER.info("Started", extra=fields(node=parts.node.name, runtime=parts.runtime.name, sources=_source_names(parts)))
    status = _wait(inbox, parts)
    for close in closers:
        close()
    if not workers.join(_FAREWELL_SECONDS):
        _LOGGER.info("Some threads are still waiting for an answer; they end with the program")
    return status


def _source_names(parts: Parts) -> str:
    return ", ".join(status.name for status in parts.sources.statuses)


def _start_reporter(parts: Parts, workers: Workers, changed: _LateCall) -> Callable[[], None]:
    from kernel_image_puller.reporting.cluster import ClusterReporter

    settings = parts.settings
    if parts.api is None:
        raise AssertionError("without Kubernetes nobody starts this")
    reporter = ClusterReporter(
        api=parts.api,
        node=parts.node.name,
        pod=(settings.pod_namespace, settings.pod_name),
        statuses=parts.schedule.snapshot,
        first_sync=parts.rounds.first_sync_done,
        annotate=settings.annotate,
        events=settings.events,
        startup_taint=settings.startup_taint,
        clock=SystemClock(),
    )
    changed.target = reporter.notify
    workers.start("reporter", reporter.run)
    return reporter.stop


def _start_pages(parts: Parts, metrics: PullerMetrics, workers: Workers) -> Callable[[], None]:
    settings = parts.settings
    pages = Pages(
        rounds=parts.rounds,
        schedule=parts.schedule,
        sources=parts.sources,
        metrics=metrics,
        node=parts.node.name,
        runtime=parts.runtime.name,
        stalled_after=settings.interval + len(parts.sources.statuses) * settings.fetch_timeout + _STALL_MARGIN_SECONDS,
        clock=SystemClock(),
    )
    try:
        server = PageServer(host=settings.http_host, port=settings.http_port, pages=pages.paths())
    except OSError as error:
        address = f"{settings.http_host}:{settings.http_port}"
        raise ConfigurationError(f"{address} can't be listened on ({error.strerror}); set KIP_HTTP_PORT") from error
    _LOGGER.info("Serving pages", extra=fields(address=settings.http_host, port=server.port))
    workers.start("http", server.run)
    return server.stop


def _wait(inbox: Inbox, parts: Parts) -> int:
    while True:
        match inbox.get():
            case Reload():
                _LOGGER.info("Reading credentials and sources again")
                parts.credentials.read_again()
                parts.rounds.wake()
            case Stop(why=why):
                _LOGGER.info("Stopping", extra=fields(why=why))
                return 0
            case Crashed():
                return 1

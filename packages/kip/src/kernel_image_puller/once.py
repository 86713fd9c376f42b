"""One round with everybody watching: `kernel-image-puller --once`."""

import sys
import threading
from collections.abc import Mapping

from kernel_image_puller.clock import SystemClock
from kernel_image_puller.settings import Settings
from kernel_image_puller.states import ImageState, ImageStatus
from kernel_image_puller.table import size_text
from kernel_image_puller.threads import Crashed, Inbox, Stop, Workers
from kernel_image_puller.wiring import Parts, build

__all__ = ["run_once"]

_EVERYTHING_THERE, _SOMETHING_MISSING, _INTERRUPTED = 0, 1, 130
_SHOW_SECONDS = 0.5
_SETTLED = frozenset({ImageState.PRESENT, ImageState.FAILED, ImageState.HELD})


def run_once(settings: Settings, environment: Mapping[str, str], inbox: Inbox) -> int:
    """Pull what is missing, show how it goes, and return 0 only if every image is there in the end.

    Raises
    ------
    ConfigurationError
        A setting can't be used here.
    """
    changed = threading.Event()
    parts = build(settings, environment, clock=SystemClock(), changed=changed.set)
    parts.rounds.round()
    problems = [f"{status.name}: {status.last_error}" for status in parts.sources.statuses if status.last_error]
    problems += [problem for status in parts.sources.statuses for problem in status.problems]
    problems += [f"{rejection.image}: {rejection.reason}" for rejection in parts.rounds.wanted.rejected]
    if parts.rounds.runtime_error:
        problems.append(parts.rounds.runtime_error)
    workers = Workers(inbox=inbox)
    for number in range(settings.num_pullers + 1):
        workers.start(f"puller-{number}", parts.puller.run)
    workers.start("watch", lambda: _watch(parts, changed, inbox))
    if parts.rounds.wanted.undecided:
        problems.append("the node's labels can't be read, so it isn't known which images are for this node (KIP_NODE_LABELS)")
    last = inbox.get()
    parts.schedule.close()
    workers.join(_SHOW_SECONDS)
    for problem in problems:
        sys.stdout.write(f"problem   {problem}\n")
    if isinstance(last, Crashed):
        return _SOMETHING_MISSING
    statuses = parts.schedule.snapshot()
    present = sum(status.state is ImageState.PRESENT for status in statuses)
    sys.stdout.write(f"{present} of {len(statuses)} images are on this node\n")
    if not (isinstance(last, Stop) and last.why in {_DONE, _RUNTIME_AWAY}):
        return _INTERRUPTED
    # An image whose tag couldn't be checked is there, but nobody knows whether it is the one that is wanted.
    unsure = last.why == _RUNTIME_AWAY or any(status.last_error for status in statuses)
    return _SOMETHING_MISSING if problems or unsure or present < len(statuses) else _EVERYTHING_THERE


_DONE = "every image is settled"
_RUNTIME_AWAY = "the container runtime doesn't answer"
# With growing pauses between them, this is about half a minute.
_MOST_RUNTIME_FAILURES = 6


def _watch(parts: Parts, changed: threading.Event, inbox: Inbox) -> None:
    """Print every change of state, and end when there will be no more."""
    shown: dict[str, tuple[object, ...]] = {}
    while True:
        statuses = parts.schedule.snapshot()
        for status in statuses:
            line, key = _line(status)
            if shown.get(status.reference) != key:
                shown[status.reference] = key
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
        if parts.schedule.idle() and all(_is_settled(status) for status in statuses):
            inbox.put(Stop(_DONE))
            return
        if parts.schedule.runtime_failures() >= _MOST_RUNTIME_FAILURES:
            sys.stdout.write(f"problem   {_RUNTIME_AWAY}\n")
            inbox.put(Stop(_RUNTIME_AWAY))
            return
        changed.wait(_SHOW_SECONDS)
        changed.clear()


def _is_settled(status: ImageStatus) -> bool:
    return status.state in _SETTLED


def _line(status: ImageStatus) -> tuple[str, tuple[object, ...]]:
    """Return what to show, and what must change for it to be shown again."""
    parts = [f"{status.state.value:<9} {status.reference}"]
    tenth = 0
    if status.state is ImageState.PULLING and status.total_bytes:
        tenth = 10 * status.done_bytes // status.total_bytes
        parts.append(f"{size_text(status.done_bytes)} of {size_text(status.total_bytes)}")
    if status.size:
        parts.append(size_text(status.size))
    if status.last_error:
        parts.append(f"({status.last_error})")
    return "  ".join(parts), (status.state, status.tries, tenth, status.last_error)

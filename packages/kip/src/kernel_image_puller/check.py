"""What would happen here, without doing it: `kernel-image-puller check`."""

import sys
from collections.abc import Mapping

from kernel_image_puller.clock import SystemClock
from kernel_image_puller.errors import RuntimeAway
from kernel_image_puller.runtimes.protocol import StoredImage
from kernel_image_puller.settings import Settings
from kernel_image_puller.table import size_text, table
from kernel_image_puller.wanted import PullPolicy, WantedImage, decide
from kernel_image_puller.wiring import Parts, build

__all__ = ["run_check"]

_ALL_WELL, _PROBLEMS = 0, 1
_HEADER = ("IMAGE", "ON THIS NODE", "WOULD", "FROM", "CREDENTIALS", "WANTED BY")


def run_check(settings: Settings, environment: Mapping[str, str]) -> int:
    """Print what is wanted and what is here; return 0 if all of it could be found out and no name is wrong.

    Raises
    ------
    ConfigurationError
        A setting can't be used here.
    """
    parts = build(settings, environment, clock=SystemClock())
    requests = parts.sources.fetch()
    labels = parts.node.labels() if any(request.node_selector for request in requests) else {}
    wanted = decide(requests, parts.rules, labels)
    problems = [f"{status.name}: {status.last_error}" for status in parts.sources.statuses if status.last_error]
    problems += [problem for status in parts.sources.statuses for problem in status.problems]
    images: dict[str, StoredImage] | None = None
    runtime = parts.runtime.name
    try:
        runtime = parts.runtime.describe()
        images = {name: image for image in parts.runtime.images() for name in image.names}
    except RuntimeAway as error:
        problems.append(str(error))
    sys.stdout.write(f"node      {parts.node.name}\nruntime   {runtime}\n")
    for status in parts.sources.statuses:
        sys.stdout.write(f"source    {status.name}\n")
    sys.stdout.write("\n")
    rows = [_row(parts, name, image, images) for name, image in sorted(wanted.images.items())]
    rows += [(no.image, "-", f"refuse: {no.reason}", "-", "-", no.wanted_by) for no in wanted.rejected]
    rows += [(no.image, "-", f"leave to other nodes: {no.reason}", "-", "-", no.wanted_by) for no in wanted.elsewhere]
    sys.stdout.write(table(_HEADER, rows) if rows else "No image is wanted.\n")
    for problem in problems:
        sys.stdout.write(f"\nproblem   {problem}\n")
    parts.runtime.close()
    return _PROBLEMS if problems or wanted.rejected else _ALL_WELL


def _row(parts: Parts, name: str, image: WantedImage, images: Mapping[str, StoredImage] | None) -> tuple[str, ...]:
    found = None if images is None else images.get(name)
    if images is None:
        here, would = "unknown", "ask again"
    elif found is None:
        here, would = "no", "pull"
    else:
        here = f"yes, {size_text(found.size)}" if found.size else "yes"
        would = "check the tag" if image.policy is PullPolicy.ALWAYS else "nothing"
    if parts.runtime.uses_credentials:
        logins = ", ".join(candidate.source for candidate in parts.credentials.candidates(image.reference)) or "none"
    else:
        logins = "the kubelet's"
    return (name, here, would, image.reference.registry, logins, ", ".join(image.wanted_by))

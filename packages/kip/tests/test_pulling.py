import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel_image_puller.credentials import CredentialStore
from kernel_image_puller.errors import AuthenticationFailed, PullFailed, TransientPullError
from kernel_image_puller.pulling import Puller
from kernel_image_puller.runtimes.protocol import PullOrder
from kernel_image_puller.states import ImageState


class ScriptedRuntime:
    """Answers a pull by the user name that comes with it."""

    name = "scripted"
    uses_credentials = True

    def __init__(self, script: dict[str, int | PullFailed]) -> None:
        self.script = script
        self.tried: list[str] = []
        self.before: Callable[[PullOrder], None] = lambda _order: None

    def pull(self, order: PullOrder) -> int:
        self.before(order)
        user = order.credential.username if order.credential else "anonymous"
        self.tried.append(user)
        outcome = self.script.get(user, AuthenticationFailed(f"401 for {user}"))
        if isinstance(outcome, PullFailed):
            raise outcome
        return outcome


def _write_logins(path: Path, **auths: str) -> None:
    entries = {
        server.replace("_", "."): {"auth": base64.b64encode(f"{user}:p".encode()).decode()} for server, user in auths.items()
    }
    path.write_text(json.dumps({"auths": entries}))


@pytest.fixture
def puller(tmp_path: Path, make_schedule: Any, clock: Any, wanted: Any) -> Callable[[ScriptedRuntime], tuple[Puller, Any]]:
    def make(runtime: ScriptedRuntime) -> tuple[Puller, Any]:
        schedule = make_schedule()
        schedule.reconcile(wanted("r.example/a"), {})
        made = Puller(
            schedule=schedule,
            runtime=runtime,  # type: ignore[arg-type]  # only pulling is asked of it
            credentials=CredentialStore(paths=[tmp_path / "config.json"]),
            timeout=60.0,
            clock=clock,
            observe=lambda _job, outcome, _seconds: observed.append(outcome),
        )
        return made, schedule

    observed: list[Any] = []
    make.observed = observed  # type: ignore[attr-defined]  # read by the tests
    return make


def test_every_login_that_applies_is_tried_and_then_none(puller: Any, tmp_path: Path) -> None:
    _write_logins(tmp_path / "config.json", r_example="exact", **{"*_example": "glob"})
    runtime = ScriptedRuntime({"anonymous": 5})
    made, schedule = puller(runtime)
    made.do(schedule.take_now())
    assert runtime.tried == ["exact", "glob", "anonymous"]
    assert schedule.snapshot()[0].state is ImageState.PRESENT


def test_the_first_login_that_works_is_the_last_one_tried(puller: Any, tmp_path: Path) -> None:
    _write_logins(tmp_path / "config.json", r_example="exact", **{"*_example": "glob"})
    runtime = ScriptedRuntime({"exact": 5})
    made, schedule = puller(runtime)
    made.do(schedule.take_now())
    assert runtime.tried == ["exact"]


def test_refused_logins_are_read_again_once_and_only_new_ones_are_tried(puller: Any, tmp_path: Path) -> None:
    _write_logins(tmp_path / "config.json", r_example="old")
    runtime = ScriptedRuntime({"new": 5})
    made, schedule = puller(runtime)

    def renew(order: PullOrder) -> None:
        if order.credential is None:
            _write_logins(tmp_path / "config.json", r_example="new")

    runtime.before = renew
    made.do(schedule.take_now())
    assert runtime.tried == ["old", "anonymous", "new"]
    assert schedule.snapshot()[0].state is ImageState.PRESENT


def test_a_refusal_without_new_logins_fails_with_the_first_answer(puller: Any, tmp_path: Path) -> None:
    _write_logins(tmp_path / "config.json", r_example="old")
    runtime = ScriptedRuntime({})
    made, schedule = puller(runtime)
    made.do(schedule.take_now())
    assert runtime.tried == ["old", "anonymous"]
    (status,) = schedule.snapshot()
    assert (status.state, status.reason, status.last_error) == (ImageState.FAILED, "authentication", "401 for old")


def test_other_failures_are_not_answered_with_other_logins(puller: Any, tmp_path: Path) -> None:
    _write_logins(tmp_path / "config.json", r_example="exact")
    runtime = ScriptedRuntime({"exact": TransientPullError("reset")})
    made, schedule = puller(runtime)
    made.do(schedule.take_now())
    assert runtime.tried == ["exact"]


def test_all_logins_share_one_time_limit(puller: Any, tmp_path: Path, clock: Any) -> None:
    _write_logins(tmp_path / "config.json", r_example="slow")
    runtime = ScriptedRuntime({})
    limits: list[float] = []

    def pass_time(order: PullOrder) -> None:
        limits.append(order.timeout)
        clock.advance(61 if len(limits) > 1 else 20)

    runtime.before = pass_time
    made, schedule = puller(runtime)
    made.do(schedule.take_now())
    assert limits == [60.0, 40.0]


def test_a_cancelled_job_tries_no_further_login(puller: Any, tmp_path: Path) -> None:
    _write_logins(tmp_path / "config.json", r_example="exact")
    runtime = ScriptedRuntime({})
    made, schedule = puller(runtime)
    job = schedule.take_now()
    runtime.before = lambda _order: job.cancellation.cancel()
    made.do(job)
    assert runtime.tried == ["exact"]


def test_a_kubelet_is_given_no_logins(puller: Any, tmp_path: Path) -> None:
    _write_logins(tmp_path / "config.json", r_example="exact")
    runtime = ScriptedRuntime({"anonymous": 1})
    runtime.uses_credentials = False
    made, schedule = puller(runtime)
    made.do(schedule.take_now())
    assert runtime.tried == ["anonymous"]


def test_every_try_is_observed(puller: Any) -> None:
    made, schedule = puller(ScriptedRuntime({"anonymous": 9}))
    made.do(schedule.take_now())
    assert puller.observed == [9]

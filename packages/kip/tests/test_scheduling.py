import threading
from collections.abc import Callable
from typing import Any

import pytest

from kernel_image_puller.errors import (
    AuthenticationFailed,
    DiskFull,
    PermanentPullError,
    PullCancelled,
    PullFailed,
    RegistryBusy,
    RuntimeAway,
    TransientPullError,
)
from kernel_image_puller.scheduling import Job, Schedule
from kernel_image_puller.states import ImageState, ImageStatus
from kernel_image_puller.wanted import PullPolicy, WantedImage

Wanted = Callable[..., dict[str, WantedImage]]
MakeSchedule = Callable[..., Schedule]
A, B = "docker.io/library/a:latest", "docker.io/library/b:latest"


def _only(schedule: Schedule) -> ImageStatus:
    (status,) = schedule.snapshot()
    return status


def _take(schedule: Schedule) -> Job:
    job = schedule.take_now()
    assert job is not None
    return job


def _name(job: Job) -> str:
    return str(job.image.reference)


def test_a_missing_image_is_pulled_and_then_present(make_schedule: MakeSchedule, wanted: Wanted) -> None:
    schedule = make_schedule()
    schedule.reconcile(wanted("a"), {})
    assert _only(schedule).state is ImageState.WAITING
    job = _take(schedule)
    assert _only(schedule).state is ImageState.PULLING
    schedule.finish(job, 7)
    assert (_only(schedule).state, _only(schedule).size) == (ImageState.PRESENT, 7)
    assert schedule.take_now() is None


def test_a_present_image_is_not_pulled(make_schedule: MakeSchedule, wanted: Wanted) -> None:
    schedule = make_schedule()
    schedule.reconcile(wanted("a"), {A: 7})
    assert schedule.take_now() is None
    assert _only(schedule).state is ImageState.PRESENT


def test_always_checks_a_present_image_once_a_round(make_schedule: MakeSchedule, wanted: Wanted) -> None:
    schedule = make_schedule()
    images = wanted("a", policy=PullPolicy.ALWAYS)
    for _ in range(3):
        schedule.reconcile(images, {A: 7})
        job = _take(schedule)
        assert job.refresh
        assert _only(schedule).state is ImageState.PRESENT
        schedule.finish(job, 7)
        assert schedule.take_now() is None


def test_a_failed_check_leaves_a_present_image_present(make_schedule: MakeSchedule, wanted: Wanted) -> None:
    schedule = make_schedule()
    schedule.reconcile(wanted("a", policy=PullPolicy.ALWAYS), {A: 7})
    schedule.finish(_take(schedule), PermanentPullError("gone"))
    assert (_only(schedule).state, _only(schedule).last_error) == (ImageState.PRESENT, "gone")


def test_one_image_is_never_pulled_twice_at_a_time(make_schedule: MakeSchedule, wanted: Wanted) -> None:
    schedule = make_schedule(pullers=5)
    schedule.reconcile(wanted("a"), {})
    _take(schedule)
    schedule.reconcile(wanted("a"), {})
    assert schedule.take_now() is None


def test_an_image_that_is_dropped_and_wanted_again_waits_for_its_cancelled_pull(
    make_schedule: MakeSchedule, wanted: Wanted
) -> None:
    schedule = make_schedule(pullers=5)
    schedule.reconcile(wanted("a"), {})
    job = _take(schedule)
    schedule.reconcile({}, {})
    assert job.cancellation.cancelled
    schedule.reconcile(wanted("a"), {})
    assert schedule.take_now() is None
    schedule.finish(job, PullCancelled("cancelled"))
    assert _name(_take(schedule)) == A


def test_a_pull_that_nobody_wants_any_more_is_cancelled_and_forgotten(make_schedule: MakeSchedule, wanted: Wanted) -> None:
    schedule = make_schedule()
    schedule.reconcile(wanted("a", "b"), {})
    job = _take(schedule)
    schedule.reconcile(wanted("b"), {})
    assert job.cancellation.cancelled
    schedule.finish(job, PullCancelled("cancelled"))
    assert [status.reference for status in schedule.snapshot()] == [B]


def test_one_registry_gets_no_more_than_its_pullers(make_schedule: MakeSchedule, wanted: Wanted) -> None:
    schedule = make_schedule(pullers=2)
    schedule.reconcile(wanted("a", "b", "c"), {})
    _take(schedule)
    _take(schedule)
    assert schedule.take_now() is None


def test_another_registry_does_not_wait_behind_a_slow_one(make_schedule: MakeSchedule, wanted: Wanted) -> None:
    schedule = make_schedule(pullers=2)
    slow = wanted("slow.example/a", "slow.example/b", "slow.example/c")
    schedule.reconcile(slow, {})
    _take(schedule)
    _take(schedule)
    schedule.reconcile(slow | wanted("quick.example/d", "third.example/e"), {})
    assert _name(_take(schedule)) == "quick.example/d:latest"
    assert schedule.take_now() is None, "only one more than the pullers"


def test_registries_take_turns(make_schedule: MakeSchedule, wanted: Wanted) -> None:
    schedule = make_schedule(pullers=3)
    schedule.reconcile(wanted("one.example/a", "one.example/b", "two.example/c"), {})
    assert [_name(_take(schedule)) for _ in range(3)] == ["one.example/a:latest", "two.example/c:latest", "one.example/b:latest"]


def test_a_transient_failure_is_tried_again_after_growing_waits(make_schedule: MakeSchedule, wanted: Wanted, clock: Any) -> None:
    schedule = make_schedule(tries=3)
    schedule.reconcile(wanted("a"), {})
    schedule.finish(_take(schedule), TransientPullError("reset"))
    assert _only(schedule).state is ImageState.RETRYING
    assert schedule.take_now() is None
    clock.advance(2.1)
    schedule.finish(_take(schedule), TransientPullError("reset"))
    clock.advance(1.9)
    assert schedule.take_now() is None
    clock.advance(1.2)
    schedule.finish(_take(schedule), TransientPullError("reset"))
    assert (_only(schedule).state, _only(schedule).tries) == (ImageState.FAILED, 3)


def test_a_round_does_not_shorten_the_wait_of_a_retry(make_schedule: MakeSchedule, wanted: Wanted) -> None:
    schedule = make_schedule()
    schedule.reconcile(wanted("a"), {})
    schedule.finish(_take(schedule), TransientPullError("reset"))
    schedule.reconcile(wanted("a"), {})
    assert schedule.take_now() is None


@pytest.mark.parametrize("error", [PermanentPullError("404"), AuthenticationFailed("401")])
def test_a_refusal_is_not_tried_again_within_a_round(
    make_schedule: MakeSchedule, wanted: Wanted, clock: Any, error: PullFailed
) -> None:
    schedule = make_schedule()
    schedule.reconcile(wanted("a"), {})
    schedule.finish(_take(schedule), error)
    clock.advance(1000)
    assert schedule.take_now() is None
    assert _only(schedule).state is ImageState.FAILED


def test_later_rounds_try_a_failed_image_again_ever_more_rarely(make_schedule: MakeSchedule, wanted: Wanted, clock: Any) -> None:
    schedule = make_schedule()
    tries = 0
    for _ in range(600):
        schedule.reconcile(wanted("a"), {})
        while (job := schedule.take_now()) is not None:
            tries += 1
            schedule.finish(job, PermanentPullError("404"))
        clock.advance(1)
    assert 8 <= tries <= 20, "once a minute in the end, not once a second"


def test_a_busy_registry_holds_back_its_other_images_and_no_others(
    make_schedule: MakeSchedule, wanted: Wanted, clock: Any
) -> None:
    schedule = make_schedule(pullers=2)
    schedule.reconcile(wanted("busy.example/a", "busy.example/b", "fine.example/c"), {})
    schedule.finish(_take(schedule), RegistryBusy("429", retry_after=30.0))
    assert _name(_take(schedule)) == "fine.example/c:latest"
    assert schedule.take_now() is None
    clock.advance(31)
    assert _take(schedule).image.reference.registry == "busy.example"
    assert schedule.take_now() is None, "one at a time until it works"


def test_a_registry_that_works_again_gets_all_its_pullers(make_schedule: MakeSchedule, wanted: Wanted, clock: Any) -> None:
    schedule = make_schedule(pullers=2)
    schedule.reconcile(wanted("r.example/a", "r.example/b", "r.example/c"), {})
    schedule.finish(_take(schedule), RegistryBusy("503"))
    clock.advance(3)
    schedule.finish(_take(schedule), 1)
    _take(schedule)
    _take(schedule)


def test_many_images_of_a_dead_registry_cause_no_storm(make_schedule: MakeSchedule, wanted: Wanted, clock: Any) -> None:
    schedule = make_schedule(pullers=2, tries=3)
    images = wanted(*(f"dead.example/i{number}" for number in range(50)))
    tries = 0
    for _ in range(300):
        schedule.reconcile(images, {})
        while (job := schedule.take_now()) is not None:
            tries += 1
            schedule.finish(job, RegistryBusy("connection refused"))
        clock.advance(1)
    assert tries <= 15


def test_a_runtime_that_is_away_costs_no_try_and_is_asked_more_rarely(
    make_schedule: MakeSchedule, wanted: Wanted, clock: Any
) -> None:
    schedule = make_schedule(tries=2)
    schedule.reconcile(wanted("a"), {})
    asked = 0
    for _ in range(100):
        if (job := schedule.take_now()) is not None:
            asked += 1
            schedule.finish(job, RuntimeAway("no socket"))
        clock.advance(1)
    assert 8 <= asked <= 15
    clock.advance(10)
    schedule.finish(_take(schedule), 5)
    assert (_only(schedule).state, _only(schedule).tries) == (ImageState.PRESENT, 1)


def test_a_full_disk_stops_every_pull_for_a_while(make_schedule: MakeSchedule, wanted: Wanted, clock: Any) -> None:
    schedule = make_schedule()
    images = wanted("a", "b.example/b")
    schedule.reconcile(images, {})
    schedule.finish(_take(schedule), DiskFull("no space left on device"))
    assert schedule.take_now() is None
    assert {status.state for status in schedule.snapshot()} == {ImageState.HELD}
    clock.advance(60)
    schedule.reconcile(images, {})
    assert schedule.take_now() is None
    clock.advance(300)
    schedule.reconcile(images, {})
    _take(schedule)


def test_nothing_is_pulled_while_the_node_has_a_reason(make_schedule: MakeSchedule, wanted: Wanted) -> None:
    schedule = make_schedule()
    schedule.reconcile(wanted("a", "b"), {A: 1}, hold="disk pressure")
    assert schedule.take_now() is None
    states = {status.reference: (status.state, status.last_error) for status in schedule.snapshot()}
    assert states == {A: (ImageState.PRESENT, ""), B: (ImageState.HELD, "disk pressure")}
    schedule.reconcile(wanted("a", "b"), {A: 1})
    assert _name(_take(schedule)) == B


def test_what_others_remove_comes_back_but_not_for_ever(make_schedule: MakeSchedule, wanted: Wanted, clock: Any) -> None:
    schedule = make_schedule(per_hour=3)
    pulls = 0
    for _ in range(30):
        schedule.reconcile(wanted("a"), {})
        if (job := schedule.take_now()) is not None:
            pulls += 1
            schedule.finish(job, 1)
        clock.advance(60)
    assert pulls == 3
    assert _only(schedule).state is ImageState.HELD
    clock.advance(3600)
    schedule.reconcile(wanted("a"), {})
    _take(schedule)


def test_the_first_round_is_settled_when_every_image_has_an_answer(make_schedule: MakeSchedule, wanted: Wanted) -> None:
    schedule = make_schedule()
    schedule.reconcile(wanted("a", "b"), {})
    schedule.finish(_take(schedule), 1)
    assert not schedule.first_settled()
    schedule.finish(_take(schedule), PermanentPullError("404"))
    assert schedule.first_settled()


def test_closing_cancels_pulls_and_sends_waiting_threads_home(make_schedule: MakeSchedule, wanted: Wanted) -> None:
    schedule = make_schedule()
    schedule.reconcile(wanted("a"), {})
    job = _take(schedule)
    took: list[Job | None] = []
    thread = threading.Thread(target=lambda: took.append(schedule.take()))
    thread.start()
    schedule.close()
    thread.join(5)
    assert took == [None]
    assert job.cancellation.cancelled


def test_every_change_is_announced(make_schedule: MakeSchedule, wanted: Wanted) -> None:
    changes: list[int] = []
    schedule = make_schedule(changed=lambda: changes.append(1))
    schedule.reconcile(wanted("a"), {})
    schedule.finish(_take(schedule), 1)
    assert len(changes) == 3


def test_a_clock_that_is_set_changes_no_decision(make_schedule: MakeSchedule, wanted: Wanted, clock: Any) -> None:
    schedule = make_schedule()
    schedule.reconcile(wanted("a"), {})
    schedule.finish(_take(schedule), TransientPullError("reset"))
    clock.wall_offset += 86_400
    assert schedule.take_now() is None
    clock.wall_offset -= 2 * 86_400
    clock.advance(2.1)
    _take(schedule)


def test_nothing_grows_over_a_thousand_rounds(make_schedule: MakeSchedule, wanted: Wanted, clock: Any) -> None:
    schedule = make_schedule(per_hour=3)
    for number in range(1000):
        schedule.reconcile(wanted("a", f"gone-{number}.example/x"), {A: 1})
        while (job := schedule.take_now()) is not None:
            schedule.finish(job, RegistryBusy("503") if number % 2 else 1)
        clock.advance(300)
    schedule.reconcile(wanted("a"), {A: 1})
    assert len(schedule._tickets) == 1
    assert not schedule._in_flight


def test_an_image_that_came_after_the_runtime_was_asked_is_not_missing(
    make_schedule: MakeSchedule, wanted: Wanted, clock: Any
) -> None:
    schedule = make_schedule()
    schedule.reconcile(wanted("a"), {})
    job = _take(schedule)
    asked = clock.monotonic()
    clock.advance(1)
    schedule.finish(job, 7)
    schedule.reconcile(wanted("a"), {}, as_of=asked)
    assert _only(schedule).state is ImageState.PRESENT
    clock.advance(1)
    schedule.reconcile(wanted("a"), {}, as_of=clock.monotonic())
    assert _only(schedule).state is ImageState.WAITING


def test_it_is_idle_when_checks_of_present_images_are_done_too(make_schedule: MakeSchedule, wanted: Wanted) -> None:
    schedule = make_schedule()
    schedule.reconcile(wanted("a", policy=PullPolicy.ALWAYS), {A: 7})
    assert not schedule.idle()
    job = _take(schedule)
    assert not schedule.idle()
    schedule.finish(job, 7)
    assert schedule.idle()


def test_a_full_disk_holds_the_checks_of_tags_too(make_schedule: MakeSchedule, wanted: Wanted) -> None:
    schedule = make_schedule()
    schedule.reconcile(wanted("a", "b", policy=PullPolicy.ALWAYS), {A: 7})
    jobs = [_take(schedule)]
    schedule.finish(jobs[0], DiskFull("no room"))
    assert schedule.take_now() is None
    assert schedule.idle()

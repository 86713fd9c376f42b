from kernel_image_puller.cancellation import Cancellation


def test_cancelling_calls_what_is_registered_once() -> None:
    calls: list[int] = []
    cancellation = Cancellation()
    with cancellation.calling(lambda: calls.append(1)):
        cancellation.cancel()
        cancellation.cancel()
    assert calls == [1]
    assert cancellation.cancelled


def test_what_is_registered_too_late_is_called_at_once() -> None:
    calls: list[int] = []
    cancellation = Cancellation()
    cancellation.cancel()
    with cancellation.calling(lambda: calls.append(1)):
        assert calls == [1]


def test_what_is_over_is_not_called_any_more() -> None:
    calls: list[int] = []
    cancellation = Cancellation()
    with cancellation.calling(lambda: calls.append(1)):
        pass
    cancellation.cancel()
    assert calls == []

import asyncio
import contextlib
from dataclasses import dataclass

from tornado.websocket import WebSocketClosedError

from enterprise_gateway.websocket.liveness import Liveness


@dataclass
class Line:
    sent: int = 0
    unsent: int = 0


class Stopped(Exception):
    pass


class Scene:
    """A client on a clock that goes forward by each sleep."""

    def __init__(self, steps):
        self.now, self.pings, self.lost_at, self.steps, self.line = 0.0, [], None, iter(steps), Line()
        self.liveness = Liveness(
            ping=self.ping,
            lost=self.lost,
            delivery=self.line,
            interval=30,
            timeout=90,
            clock=lambda: self.now,
            sleep=self.sleep,
        )

    def ping(self):
        self.pings.append(self.now)

    def lost(self):
        self.lost_at = self.now

    async def sleep(self, seconds):
        self.now += seconds
        try:
            next(self.steps)(self)
        except StopIteration:
            raise Stopped from None

    def play(self):
        with contextlib.suppress(Stopped):
            asyncio.run(self.liveness.watch())
        return self


def nothing(_):
    pass


def answer(scene):
    scene.liveness.sign_of_life()


def output_moves(scene):
    scene.line.sent += 1000
    scene.line.unsent = 5000


def test_a_client_that_answers_is_pinged_for_ever():
    scene = Scene([answer] * 20).play()
    assert (len(scene.pings), scene.lost_at) == (20, None)


def test_a_client_without_a_sign_of_life_is_lost_after_the_timeout():
    assert Scene([nothing] * 20).play().lost_at == 120


def test_a_client_that_still_takes_output_is_not_lost_and_not_pinged():
    scene = Scene([output_moves] * 20).play()
    assert (scene.pings, scene.lost_at) == ([], None)


def test_a_client_that_takes_no_output_any_more_is_lost():
    assert Scene([output_moves, *[nothing] * 20]).play().lost_at == 150


def test_watching_ends_with_the_connection():
    scene = Scene([nothing] * 20)

    def closed():
        raise WebSocketClosedError

    scene.liveness._ping = closed
    assert scene.play().now == 30

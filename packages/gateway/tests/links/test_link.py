"""One link to a kernel that a test plays: sockets, signatures, questions, and who gets which answer."""

import asyncio
import contextlib
import json
import logging

import pytest
import zmq
import zmq.asyncio
from jupyter_client.session import Session

from enterprise_gateway.links.link import KernelLink
from enterprise_gateway.links.messages import Header
from enterprise_gateway.links.options import LinkOptions
from enterprise_gateway.links.requests import HeldMessage, KernelDoesNotRead, TooManyWait
from enterprise_gateway_common.message_log import START

KEY = b"the kernel's key"


class PlayedKernel:
    """Sockets of a kernel that says what a test has it say."""

    def __init__(self, context):
        self.context, self.session = context, Session(key=KEY)
        self.sockets = {
            "shell": context.socket(zmq.ROUTER),
            "control": context.socket(zmq.ROUTER),
            "stdin": context.socket(zmq.ROUTER),
            "iopub": context.socket(zmq.XPUB),
        }
        # What is sent to nobody fails, so that a test can wait for whom it is for.
        self.sockets["stdin"].router_mandatory = True
        self.info = {"transport": "tcp", "ip": "127.0.0.1"}
        for name, socket in self.sockets.items():
            self.info[f"{name}_port"] = socket.bind_to_random_port("tcp://127.0.0.1")

    async def subscribed(self):
        """Return the topic of the link's own welcome, behind which nothing that is published gets lost."""
        while not (topic := (await self.sockets["iopub"].recv())[1:]):
            pass
        return topic

    async def receive(self, channel):
        frames = await self.sockets[channel].recv_multipart()
        identities, parts = self.session.feed_identities(frames)
        return identities, self.session.deserialize(parts)

    async def answer(self, channel, identities, request, content=None):
        message = self.session.msg(request["msg_type"].replace("request", "reply"), content or {}, parent=request)
        await self.sockets[channel].send_multipart([*identities, *self.session.serialize(message)])

    async def ask_for_input(self, identities, question):
        while True:
            try:
                return await self.sockets["stdin"].send_multipart([*identities, *self.session.serialize(question)])
            except zmq.ZMQError as error:
                if error.errno != zmq.EHOSTUNREACH:
                    raise
                await asyncio.sleep(0)

    async def publish(self, kind, content, parent=None):
        message = self.session.msg(kind, content, parent=parent)
        await self.sockets["iopub"].send_multipart([kind.encode(), *self.session.serialize(message)])


class Counts:
    def __init__(self):
        self.reasons = []

    def log_bytes(self, change):
        pass

    def dropped(self, reason):
        self.reasons.append(reason)


@pytest.fixture
def scenario():
    """Return a function that runs a scenario with a link and the kernel that it is connected to."""

    def run(steps, **options):
        async def scene():
            context = zmq.asyncio.Context()
            kernel, session = PlayedKernel(context), Session(key=KEY)
            link = KernelLink(
                kernel_id="1",
                context=zmq.Context.shadow(context.underlying),
                session=lambda: session,
                options=LinkOptions(**options),
                metrics=Counts(),
            )
            link.connect(kernel.info)
            link.up()
            try:
                async with asyncio.timeout(20):
                    return await steps(link, kernel)
            finally:
                link.close()
                context.destroy(linger=0)

        return asyncio.run(scene())

    return run


def request(msg_id, channel="shell", session="the header's", content=b"{}", kind="execute_request"):
    header = {"msg_id": msg_id, "msg_type": kind, "session": session, "username": "", "version": "5.3"}
    return HeldMessage(channel, Header(msg_id, kind), [json.dumps(header).encode(), b"{}", b"{}", content], "the websocket's")


def said(link):
    """Return everything that stands in the log."""
    messages, position = [], START
    while (found := link.log.read(position)) is not None:
        message, position = found
        messages.append(message)
    return messages


def heard(link, count):
    """Return the next messages that the link appends, as soon as there are so many of them."""
    messages, enough = [], asyncio.get_running_loop().create_future()

    def note(message):
        messages.append(message)
        if len(messages) == count:
            enough.set_result(messages)

    link.observe(note)
    return enough


def test_the_way_for_requests_for_input_is_there_before_any_request(scenario):
    async def steps(link, kernel):
        assert set(link._channels._sockets) == {"stdin", "iopub"}
        link.send(request("1"))
        assert link._channels._sockets["shell"]._socket.identity == link._channels._sockets["stdin"]._socket.identity

    scenario(steps)


def test_a_reply_and_a_request_for_input_are_for_the_session_that_asked(scenario):
    async def steps(link, kernel):
        messages = heard(link, 2)
        link.send(request("1"))
        identities, asked = await kernel.receive("shell")
        question = kernel.session.msg("input_request", {"prompt": "?"}, parent=asked)
        await kernel.ask_for_input(identities, question)
        await kernel.answer("shell", identities, asked)
        return {(message.channel, message.recipient) for message in await messages}

    assert scenario(steps) == {("stdin", "the websocket's"), ("shell", "the websocket's")}


def test_an_answer_to_the_gateways_own_question_is_no_message_of_the_log(scenario):
    async def steps(link, kernel):
        asking = asyncio.create_task(link.ask_kernel_info())
        await kernel.answer("shell", *(await kernel.receive("shell")), {"protocol_version": "5.4"})
        content = await asking
        return content["protocol_version"], link.session.adapt_version, len(link.log)

    assert scenario(steps) == ("5.4", 5, 0)


def test_output_is_proved_to_arrive_by_a_welcome_or_by_output(scenario):
    async def steps(link, kernel):
        topic = await kernel.subscribed()
        waiting = asyncio.create_task(link.output_arrives(ask=False))
        await kernel.sockets["iopub"].send_multipart([topic, b"<IDS|MSG>", b"", b"{}", b"{}", b"{}", b"{}"])
        await waiting
        assert link._channels.heard.is_set()
        return len(link.log)

    assert scenario(steps) == 0


def test_a_kernel_that_says_nothing_is_made_to_speak(scenario):
    async def steps(link, kernel):
        waiting = asyncio.create_task(link.output_arrives(ask=True))
        _, asked = await kernel.receive("shell")
        await kernel.publish("status", {"execution_state": "busy"}, parent=asked)
        await waiting
        return asked["msg_type"], link._channels.heard.is_set()

    assert scenario(steps) == ("kernel_info_request", True)


def test_a_message_that_is_not_signed_with_the_kernels_key_is_dropped_and_logged_once(scenario, caplog):
    async def steps(link, kernel):
        await kernel.subscribed()
        kernel.session = Session(key=b"another key")
        messages = heard(link, 1)
        await kernel.publish("stream", {"text": "forged"})
        await kernel.publish("stream", {"text": "forged"})
        kernel.session = Session(key=KEY)
        await kernel.publish("stream", {"text": "real"})
        return [json.loads(message.parts[3])["text"] for message in await messages], link._metrics.reasons

    assert scenario(steps) == (["real"], ["invalid_signature", "invalid_signature"])
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


def test_a_kernel_that_does_not_read_takes_so_much_and_no_more(scenario):
    async def steps(link, kernel):
        kernel.sockets["control"].close(linger=0)
        with contextlib.suppress(KernelDoesNotRead):
            for number in range(1000):
                link.send(request(str(number), "control", content=b"x" * 2_000_000))
            return number
        return link._channels._sockets["control"].backlog

    assert 10_000_000 < scenario(steps, max_message_bytes=10_000_000) < 15_000_000


def test_a_kernel_that_is_reached_differently_is_connected_to_anew_and_the_log_goes_on(scenario):
    async def steps(link, kernel):
        moved = kernel.successor = PlayedKernel(kernel.context)
        messages = heard(link, 1)
        link.connect(moved.info)
        await moved.subscribed()
        await moved.publish("stream", {"text": "from the new one"})
        return [json.loads(message.parts[3])["text"] for message in await messages], len(link.log)

    assert scenario(steps) == (["from the new one"], 1)


def test_what_comes_while_the_kernel_is_restarted_waits_for_the_new_one(scenario):
    async def steps(link, kernel):
        link.send(request("before"))
        await kernel.receive("shell")
        link.restarting(None)
        answered = [message.header.msg_type for message in said(link)]
        assert link.send(request("meanwhile"))
        moved = kernel.successor = PlayedKernel(kernel.context)
        link.connect(moved.info)
        link.up()
        _, asked = await moved.receive("shell")
        return answered, asked["header"]["msg_id"]

    assert scenario(steps) == (["error", "execute_reply", "status"], "meanwhile")


def test_what_comes_before_the_kernel_is_up_for_the_first_time_waits_though_it_is_reached_already(scenario):
    async def steps(link, kernel):
        starting = KernelLink(
            kernel_id="2",
            context=zmq.Context.shadow(kernel.context.underlying),
            session=lambda: link.session,
            options=LinkOptions(),
            metrics=Counts(),
        )
        for number in range(3):
            assert starting.send(request(str(number)))
        # It is asked whether it answers; a cell that ran now would say things that nobody hears.
        starting.connect(kernel.info)
        asking = asyncio.create_task(starting.ask_kernel_info())
        identities, asked = await kernel.receive("shell")
        await kernel.answer("shell", identities, asked)
        await asking
        assert starting.holding
        starting.up()
        got = [(await kernel.receive("shell"))[1]["header"]["msg_id"] for _ in range(3)]
        starting.close()
        return asked["msg_type"], got

    assert scenario(steps) == ("kernel_info_request", ["0", "1", "2"])


def test_a_message_beyond_the_bound_is_answered_and_is_no_request_of_the_kernel(scenario):
    async def steps(link, kernel):
        link.restarting(None)
        with pytest.raises(TooManyWait) as refused:
            link.send(request("too large", content=b"x" * 2_000))
        link.refuse(request("too large"), str(refused.value))
        answered = [(message.header.msg_type, message.parent.msg_id) for message in said(link)]
        link.connect(kernel.info)
        link.up()
        link.send(request("next"))
        return answered, (await kernel.receive("shell"))[1]["header"]["msg_id"]

    answers = [(kind, "too large") for kind in ("error", "execute_reply", "status")]
    assert scenario(steps, max_message_bytes=2_000) == (answers, "next")


def test_what_waits_for_a_kernel_that_never_comes_up_is_answered_before_its_clients_hear_that_it_is_dead(scenario):
    async def steps(link, kernel):
        link.restarting(None)
        link.send(request("waits"))
        link.dead("No image.")
        return [message.header.msg_type for message in said(link)]

    assert scenario(steps) == ["error", "execute_reply", "status", "stream", "status"]


def test_what_waits_is_answered_by_a_gateway_that_ends(scenario):
    async def steps(link, kernel):
        link.restarting(None)
        link.send(request("waits"))
        link.refuse_waiting("The gateway was stopped.")
        return [message.header.msg_type for message in said(link)], link.holding

    assert scenario(steps) == (["error", "execute_reply", "status"], False)


class StalledClient:
    """An outlet that takes nothing."""

    ready = False

    def undelivered_from(self):
        return None


def test_a_kernel_is_restarted_though_the_only_client_takes_nothing_of_what_the_one_before_said(scenario):
    async def steps(link, kernel):
        link.cursor("stalled").attach(StalledClient())
        await kernel.subscribed()
        messages = heard(link, 1)
        await kernel.publish("stream", {"text": "x" * 1000})
        await messages
        await asyncio.sleep(0)
        assert not link._channels.reading
        link.restarting(None)
        moved = kernel.successor = PlayedKernel(kernel.context)
        link.connect(moved.info)
        asking = asyncio.create_task(link.ask_kernel_info())
        await moved.answer("shell", *await moved.receive("shell"), {"implementation": "played"})
        answer = await asking
        assert link._channels.reading
        link.up()
        # Now it is a kernel like any other, whose output waits for its only client.
        return answer["implementation"], link._channels.reading

    assert scenario(steps, read_ahead_bytes=100) == ("played", False)


def test_what_a_kernel_says_while_it_is_restarted_stays_within_the_bounds_of_the_log(scenario):
    async def steps(link, kernel):
        link.cursor("stalled").attach(StalledClient())
        await kernel.subscribed()
        link.restarting(None)
        moved = kernel.successor = PlayedKernel(kernel.context)
        link.connect(moved.info)
        await moved.subscribed()
        messages = heard(link, 20)
        for _ in range(20):
            await moved.publish("stream", {"text": "x" * 1000})
        await messages
        return link.log.size

    assert scenario(steps, read_ahead_bytes=100, log_bytes=5000) <= 5000


def test_a_request_to_a_dead_kernel_is_answered_at_once_with_the_cause(scenario):
    async def steps(link, kernel):
        link.dead("It ran out of memory.")
        sent = link.send(request("1"))
        return sent, [(message.header.msg_type, json.loads(message.parts[3]).get("evalue")) for message in said(link)]

    cause = "It ran out of memory."
    assert scenario(steps) == (
        False,
        [("stream", None), ("status", None), ("error", cause), ("execute_reply", cause), ("status", None)],
    )


def test_a_request_that_waited_for_a_restart_that_fails_is_answered(scenario):
    async def steps(link, kernel):
        link.restarting("It ran out of memory.")
        link.send(request("1"))
        link.dead("It ran out of memory, six times.")
        return [json.loads(message.parts[3]).get("evalue") for message in said(link) if message.channel == "shell"]

    assert scenario(steps) == ["It ran out of memory, six times."]

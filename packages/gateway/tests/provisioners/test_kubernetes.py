import asyncio
import json
import signal
from types import SimpleNamespace

import pytest
import zmq
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from enterprise_gateway.cluster.services import ClusterOptions
from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import LaunchFailed, Unavailable
from enterprise_gateway.launch.policy import Policy
from enterprise_gateway.launch.request import KernelFacts, compose_request
from enterprise_gateway.launch.supervisor_address import SupervisorAddress
from enterprise_gateway.launch.variables import read_variables
from enterprise_gateway.provisioners import kubernetes
from enterprise_gateway.provisioners.kubernetes import KubernetesProvisioner


@pytest.fixture
def provisioner():
    """A kernel's provisioner whose launcher takes commands at a port that the test chooses."""

    def make(port):
        made = KubernetesProvisioner(kernel_id="k1", kernel_spec=KernelSpec(), parent=AsyncKernelManager())
        made.adopt(SimpleNamespace(connection_info={"ip": "127.0.0.1", "comm_port": port}))
        return made

    return make


async def nobody():
    """Return a port at which nobody listens."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


def test_an_interrupt_that_the_launcher_takes_is_done(provisioner):
    async def scenario():
        heard, ended = asyncio.get_running_loop().create_future(), asyncio.Event()

        async def launcher(reader, writer):
            heard.set_result(json.loads(await reader.read()))
            writer.close()
            await writer.wait_closed()
            ended.set()

        async with await asyncio.start_server(launcher, "127.0.0.1", 0) as server:
            await provisioner(server.sockets[0].getsockname()[1]).send_signal(signal.SIGINT)
            await ended.wait()
        return heard.result()

    assert asyncio.run(scenario()) == {"signum": signal.SIGINT}


def test_an_interrupt_that_is_lost_is_said(provisioner):
    async def scenario():
        with pytest.raises(Unavailable, match="didn't take the interrupt"):
            await provisioner(await nobody()).send_signal(signal.SIGINT)

    asyncio.run(scenario())


def test_a_kernel_that_is_being_ended_ends_though_its_interrupt_is_lost(provisioner):
    async def scenario():
        made = provisioner(await nobody())
        made.parent.shutting_down = True
        await made.send_signal(signal.SIGINT)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("handed_down", "client", "kernelspec", "seconds"),
    [
        (None, {}, {}, 60),
        (None, {"KERNEL_LAUNCH_TIMEOUT": "70"}, {}, 70),
        (None, {"KERNEL_LAUNCH_TIMEOUT": "9000"}, {}, 100),
        (None, {}, {"KERNEL_LAUNCH_TIMEOUT": "300"}, 300),
        (Deadline(50), {"KERNEL_LAUNCH_TIMEOUT": "70"}, {}, 50),
        (Deadline(500, clock=lambda: 0.0), {"KERNEL_LAUNCH_TIMEOUT": "500"}, {}, 100),
        (Deadline(500), {}, {"KERNEL_LAUNCH_TIMEOUT": "500"}, 500),
    ],
)
def test_a_start_has_the_deadline_that_is_handed_down_and_the_policy_bounds_a_clients(
    provisioner, handed_down, client, kernelspec, seconds
):
    made = provisioner(1)
    made.parent.launch_deadline = handed_down
    request = compose_request(
        kernel=KernelFacts(kernel_id="k1", kernel_name="k", username="ada", language="python"),
        client=read_variables(client),
        kernelspec=kernelspec,
        inherited={},
        said={},
        in_pod=True,
    )
    services = SimpleNamespace(options=ClusterOptions(launch_timeout=60, max_launch_timeout=900))
    assert made._deadline(request, services, Policy(maximum_launch_timeout=100)).seconds == seconds


def test_a_kernel_is_asked_at_its_own_port_whether_it_is_lost():
    context = zmq.Context()
    kernel = context.socket(zmq.ROUTER)
    port = kernel.bind_to_random_port("tcp://127.0.0.1")
    services = SimpleNamespace(pods_of=lambda _kernel_id, *, answers: answers)

    async def scenario():
        made = KubernetesProvisioner(kernel_id="k1", kernel_spec=KernelSpec(), services=services)
        answers = made.pods
        told = [await answers()]
        made.adopt(SimpleNamespace(connection_info={"ip": "127.0.0.1", "shell_port": port}))
        told.append(await answers())
        kernel.close(linger=0)
        context.term()
        return [*told, await answers()]

    assert asyncio.run(scenario()) == [False, True, False]


def pod(**changed):
    annotations = {"enterprise-gateway.jupyter.org/proxy-ports": "4040"}
    return SimpleNamespace(
        **{"ip": "10.0.0.1", "annotations": annotations, "running": True, "ended": False, "deleting": False, **changed}
    )


@pytest.fixture
def opened(provisioner):
    """Return what is open of a kernel's pod, as it was seen last."""

    def of(state):
        made = provisioner(None)
        made.connection_info["key"] = b"key"
        made._pods = SimpleNamespace(watch=SimpleNamespace(state=state))
        return made.open_ports

    return of


def test_the_ports_that_stand_on_a_pod_are_open(opened):
    assert opened(pod()) == ("10.0.0.1", (4040,), b"key")


@pytest.mark.parametrize("changed", [{"running": False}, {"ended": True}, {"deleting": True}])
def test_a_pod_that_ends_can_be_reached_no_more_for_its_address_may_be_anothers(opened, changed):
    assert opened(pod(**changed)).address == ""


def test_nothing_is_open_of_a_pod_that_nobody_has_seen(opened):
    assert opened(None) == ("", (), b"")


def test_a_kernel_with_a_supervisor_has_a_secret_that_its_pod_doesnt_know(provisioner):
    made = provisioner(None)
    made.supervisor = SupervisorAddress("10.0.0.1", 1, "public", "public", "secret")
    made._pods = SimpleNamespace(watch=SimpleNamespace(state=pod()))
    assert made.open_ports.secret == b"secret"


class Progress:
    """Notes what it is told of a start, in the order in which that came about."""

    def __init__(self, events):
        self.events, self.is_handed_over = events, False

    def made(self):
        self.events.append("told that all is made")

    async def fails(self, words):
        self.events.append(f"told why it fails: {words}")


class Start:
    """A start in a cluster whose every step a test decides."""

    def __init__(self, monkeypatch):
        self.events, self.fails, self.waits = [], LaunchFailed("no image"), asyncio.Event()
        manager = AsyncKernelManager()
        manager.launch_progress = self.progress = Progress(self.events)
        services = SimpleNamespace(
            options=ClusterOptions(launch_timeout=60, max_launch_timeout=900),
            policy=SimpleNamespace(current=Policy),
            nodes_with=lambda _image: (),
            pods_of=lambda _kernel_id, *, answers: self,  # noqa: ARG005
            client=None,
            maker=None,
            ready=self.nothing,
            turn=self.nothing,
        )
        self.strategy = SimpleNamespace(
            values={}, variables={}, gateway_key=None, connection_file=lambda _name: None, close=lambda: None
        )
        self.strategy.is_known_to_others = True
        monkeypatch.setattr(kubernetes, "build_plan", lambda **_: SimpleNamespace(fingerprint=""))
        monkeypatch.setattr(kubernetes, "find_template", lambda _folder: None)
        self.provisioner = KubernetesProvisioner(
            kernel_id="01234567-89ab-4cde-8f01-23456789abcd",
            kernel_spec=KernelSpec(argv=["x"]),
            parent=manager,
            services=services,
            image_name="x",
        )

        async def strategy(_services, _wanted):
            return self.strategy

        monkeypatch.setattr(self.provisioner, "_strategy", strategy)

    async def nothing(self, *_):
        pass

    async def make(self, _maker, _plan, *, deadline):
        self.events.append("made")
        return self

    async def running(self, **_):
        self.events.append("waits")
        self.waits.set()
        if self.fails is None:
            await asyncio.Event().wait()
        raise self.fails

    async def take_away(self, **_):
        self.events.append("taken away")

    async def launch(self):
        await self.provisioner.launch_kernel(["x"])


def test_a_start_says_when_all_of_it_is_made_and_why_it_fails_before_that_is_taken_away(monkeypatch):
    start = Start(monkeypatch)
    with pytest.raises(LaunchFailed):
        asyncio.run(start.launch())
    assert start.events == ["made", "told that all is made", "waits", "told why it fails: no image", "taken away"]


@pytest.mark.parametrize(
    ("handed_over", "known", "taken_away"),
    [(True, True, False), (True, False, True), (False, True, True)],
    ids=["to another replica", "to none that could find its connection", "not handed over"],
)
def test_what_was_made_stays_where_another_process_goes_on_with_it(monkeypatch, handed_over, known, taken_away):
    start = Start(monkeypatch)
    start.fails, start.progress.is_handed_over, start.strategy.is_known_to_others = None, handed_over, known

    async def scenario():
        launch = asyncio.create_task(start.launch())
        async with asyncio.timeout(10):
            await start.waits.wait()
        launch.cancel()
        await asyncio.gather(launch, return_exceptions=True)

    asyncio.run(scenario())
    assert ("taken away" in start.events) is taken_away

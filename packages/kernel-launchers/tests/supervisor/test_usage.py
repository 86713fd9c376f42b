import pytest

from kernel_launchers.supervisor.memory import ContainerMemory
from kernel_launchers.supervisor.processor import ContainerProcessor
from kernel_launchers.supervisor.usage import Usage, UsageMeter

MEBIBYTE = 1 << 20


@pytest.fixture(params=["version 1", "version 2"])
def container(request, tmp_path):
    """Return a function that writes what the container's control group tells, and one that returns a meter of it."""
    membership = tmp_path / "cgroup"
    one = request.param == "version 1"
    membership.write_text("9:pids:/x\n4:memory:/x\n3:cpu,cpuacct:/x\n" if one else "0::/\n")

    def write(*, memory=0, spare=0, seconds=0.0, memory_limit=None, cores=None):
        if one:
            files = {
                "memory/memory.oom_control": "oom_kill 0",
                "memory/memory.usage_in_bytes": str(memory),
                "memory/memory.stat": f"cache 7\ninactive_file 1\ntotal_inactive_file {spare}",
                "memory/memory.limit_in_bytes": str(memory_limit or (1 << 63) - 4096),
                "cpuacct/cpuacct.usage": str(round(seconds * 1e9)),
                "cpu/cpu.cfs_quota_us": "-1" if cores is None else str(round(cores * 100_000)),
                "cpu/cpu.cfs_period_us": "100000",
            }
        else:
            files = {
                "memory.events": "oom 3\noom_kill 0",
                "memory.current": str(memory),
                "memory.stat": f"anon 7\ninactive_file {spare}",
                "memory.max": str(memory_limit or "max"),
                "cpu.stat": f"usage_usec {round(seconds * 1e6)}\nuser_usec 1",
                "cpu.max": f"{'max' if cores is None else round(cores * 100_000)} 100000",
            }
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text + "\n")

    def meter(clock):
        where = {"root": tmp_path, "membership": membership}
        return UsageMeter(ContainerMemory(**where), ContainerProcessor(**where), clock=clock)

    return write, meter


def test_memory_is_what_linux_can_not_take_back_and_cores_are_the_mean_since_the_measurement_before(container):
    write, meter = container
    now = 100.0
    write(memory=300 * MEBIBYTE, spare=100 * MEBIBYTE, seconds=5, memory_limit=400 * MEBIBYTE, cores=1.5)
    measured = meter(lambda: now)
    assert measured.latest == Usage(200 * MEBIBYTE, 400 * MEBIBYTE, None, 1.5)
    write(memory=300 * MEBIBYTE, spare=50 * MEBIBYTE, seconds=20, memory_limit=400 * MEBIBYTE, cores=1.5)
    now += 10
    assert measured.measure() == measured.latest == Usage(250 * MEBIBYTE, 400 * MEBIBYTE, 1.5, 1.5)


def test_a_container_without_limits_has_none(container):
    write, meter = container
    write(memory=MEBIBYTE)
    assert meter(lambda: 0.0).latest == Usage(MEBIBYTE, None, None, None)


def test_where_nothing_is_told_nothing_is_known(tmp_path):
    where = {"root": tmp_path, "membership": tmp_path / "none"}
    meter = UsageMeter(ContainerMemory(**where), ContainerProcessor(**where))
    assert meter.measure() == Usage(None, None, None, None)


def test_this_process_can_be_measured():
    assert all(amount is None or amount >= 0 for amount in UsageMeter().measure())


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({}, False),
        ({"memory_bytes": 10 * MEBIBYTE + 1}, False),
        ({"memory_bytes": 11 * MEBIBYTE}, True),
        ({"cpu_cores": 0.104}, False),
        ({"cpu_cores": None}, True),
        ({"cpu_cores": 0.2}, True),
        ({"memory_limit_bytes": MEBIBYTE}, True),
    ],
)
def test_only_what_can_be_seen_is_a_difference(change, seen):
    usage = Usage(10 * MEBIBYTE, None, 0.1, None)
    assert usage.differs(usage._replace(**change)) is seen

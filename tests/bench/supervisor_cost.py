"""What `launch-kernel` costs beside its kernel: memory, processor time at rest and under output, and a round trip through it."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.bench.gateway_common import Direct, Table, arguments, median, percentile
from tests.support.supervised_kernel import GatewayEnd, SupervisedKernel, parent_of, text_of, type_of

from enterprise_gateway_common.supervisor_protocol import Kind

_TICKS = 100


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _private_mebibytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def _run(end: GatewayEnd, code: str) -> float:
    # As the direct client asks: a history that is written would be measured with it.
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False, "user_expressions": {}}
    begun, asked = time.perf_counter(), end.send("shell", "execute_request", content)
    replied = idle = False
    while not (replied and idle):
        _, entry, _ = end.hear(Kind.ENTRY)
        if parent_of(entry) == asked:
            replied |= entry.channel == "shell"
            idle |= type_of(entry) == "status" and b'"idle"' in entry.parts[3]
    end.acknowledge()
    return 1000 * (time.perf_counter() - begun)


def _output(kernel: SupervisedKernel, end: GatewayEnd, of_kernel: int, code: str) -> float:
    """Return the supervisor's processor time over the kernel's."""
    before = _processor_seconds(kernel.process.pid), _processor_seconds(of_kernel)
    asked = end.execute(code)
    end.take_in_until(lambda one: type_of(one) == "status" and parent_of(one) == asked and b'"idle"' in one.parts[3])
    supervisor, own = _processor_seconds(kernel.process.pid) - before[0], _processor_seconds(of_kernel) - before[1]
    return supervisor / own


def main() -> None:
    quick = arguments(__doc__ or "").quick
    rounds, rest = (50, 5) if quick else (300, 60)
    kernel = SupervisedKernel(Path(tempfile.mkdtemp(prefix="supervisor-bench-")))
    try:
        end = kernel.gateway()
        asked = end.execute("import os; print(os.getpid())")
        end.until(lambda one: type_of(one) == "stream" and parent_of(one) == asked)
        of_kernel = int(text_of(end.entries, asked))
        memory = _private_mebibytes(kernel.process.pid)
        before = _processor_seconds(kernel.process.pid)
        time.sleep(rest)
        at_rest = 100 * (_processor_seconds(kernel.process.pid) - before) / rest
        through = [_run(end, "pass") for _ in range(rounds)]
        small = _output(kernel, end, of_kernel, "for number in range(20_000): print(number, flush=True)")
        large = _output(kernel, end, of_kernel, "for _ in range(500): print('x' * 100_000)")
    finally:
        kernel.close()
    with Direct.to_own_kernel() as direct:
        past = [1000 * direct.run("pass") for _ in range(rounds)]
    more = median(through) - median(past)
    table = Table(title="launch-kernel beside its kernel", columns=["figure", "value", "target"])
    table.add("private memory, MiB", f"{memory:.1f}", f"≤ 25: {'met' if memory <= 25 else 'MISSED'}")
    table.add("processor at rest, % of a core", f"{at_rest:.2f}", f"≤ 0.1: {'met' if at_rest <= 0.1 else 'MISSED'}")
    table.add("round trip p50 over direct, ms", f"{more:+.2f}", f"≤ +1: {'met' if more <= 1 else 'MISSED'}")
    table.add("round trip p99 direct / through, ms", f"{percentile(past, 0.99):.1f} / {percentile(through, 0.99):.1f}", "")
    table.add(
        "20,000 flushed lines, over the kernel's processor time", f"{small:.2f}", f"≤ 0.2: {'met' if small <= 0.2 else 'MISSED'}"
    )
    table.add("50 MB in lines, the same", f"{large:.2f}", "")
    table.print()


if __name__ == "__main__":
    main()

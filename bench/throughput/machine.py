"""What a benchmark needs to know about the machine: its cores, and what processes use. Linux only."""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROXY_CORE, LOAD_CORE = 0, 1
"""The proxy under test has a core of its own. The load generator, the upstream and the database share the other one."""

_TICKS = os.sysconf("SC_CLK_TCK")
_SLOW = 1.3
_CALIBRATION_LOOPS = 200_000
_CALIBRATION_RUNS = 5


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Bind this thread, and the processes that it starts in the context, to a core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _children(pid: int) -> list[int]:
    pids: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        pids += [int(child) for child in (task / "children").read_text().split()]
    return pids


def tree(pid: int) -> list[int]:
    """Return the process ids of a process and all its descendants."""
    pids = [pid]
    for child in _children(pid):
        pids += tree(child)
    return pids


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and its descendants have used so far, ended children included."""
    total = 0
    for each in tree(pid):
        # proc(5): the fields utime, stime, cutime and cstime
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
        if each == pid:
            total += int(fields[13]) + int(fields[14])
    return total / _TICKS


def peak_memory(pid: int) -> float:
    """Return the sum of the peak memory of a process and its descendants, in MiB. Counts shared pages repeatedly."""
    total = 0
    for each in tree(pid):
        for line in Path(f"/proc/{each}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                total += int(line.split()[1])
    return total / 1024


def idle_seconds(core: int) -> float:
    """Return how long a core has been idle since the machine started."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            fields = line.split()
            return (int(fields[4]) + int(fields[5])) / _TICKS  # idle and iowait
    raise ValueError(f"/proc/stat has no core {core}")


def describe() -> str:
    """Return the processor, the number of cores and the kernel."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].partition(":")[2].strip() if models else platform.machine()
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}"


class Calibration:
    """Detects that the machine is slower than it was, by the time that a fixed job takes on each core."""

    def __init__(self) -> None:
        self._best = float("inf")

    def slow(self) -> bool:
        """Run the job on both cores. Return whether one of them took more than 1.3 times the best time so far.

        Each core's best of several runs counts, because a single run may be interrupted on a fast machine too.
        """
        worst = 0.0
        for core in (PROXY_CORE, LOAD_CORE):
            with pinned(core):
                seconds = min(_job() for _ in range(_CALIBRATION_RUNS))
            self._best = min(self._best, seconds)
            worst = max(worst, seconds)
        return worst > _SLOW * self._best


def _job() -> float:
    """Return how long a fixed job takes, in seconds."""
    began = time.perf_counter()
    number = 0
    for step in range(_CALIBRATION_LOOPS):
        number ^= step
    return time.perf_counter() - began

"""Compares Sitelatch with a naive aiohttp proxy: `python -m bench.run [ROUNDS [SECONDS]]`.

The benchmark prints requests per second, and the CPU time of the proxy process per request. CPU time varies less if the
load generator, the proxy and the upstream share few cores. Rounds alternate between the proxies, so that a change in
the speed of the machine affects both. The result is the median of the ratios.

All programs run on the loopback interface. Linux only. Needs wrk (Debian package `wrk`).
"""

import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_CONNECTIONS = 32
_SITES = ["shop", "blog", "docs"]


def free_port() -> int:
    """Return a free port on the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, seconds: float = 30) -> None:
    """Wait until a server listens on a port."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port} after {seconds:g} s")


@contextmanager
def process(*arguments: str) -> Iterator[int]:
    """Run a module of this repository in a process, and yield the process ID."""
    process = subprocess.Popen([sys.executable, "-m", *arguments], stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def _sitelatch(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "sitelatch", *arguments], check=True, capture_output=True, text=True
    ).stdout


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far (proc(5), fields 14 and 15, in clock ticks)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _load(port: int, pid: int, key: str, seconds: int) -> tuple[float, float]:
    """Run wrk, and return requests per second and CPU time per request in µs. Exits if a response is not 2xx."""
    before = _cpu_seconds(pid)
    url = f"http://127.0.0.1:{port}/api/sites/shop/uptime?from=2026-01-01"
    out = subprocess.run(
        ["wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}", "-H", f"X-API-Key: {key}", url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", out)
    count = re.search(r"(\d+) requests in", out)
    if "Non-2xx" in out or "Socket errors" in out or rate is None or count is None:
        raise SystemExit(f"not all requests succeeded:\n{out}")
    return float(rate[1]), (_cpu_seconds(pid) - before) / int(count[1]) * 1e6


def main() -> None:
    """Run the measurements and print the results."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    upstream, door, ops, admin, naive = (free_port() for _ in range(5))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sitelatch-bench-")))
        config = folder / "config.toml"
        config.write_text(
            f'[proxy]\nlisten = "127.0.0.1:{door}"\n'
            f'[[proxy.routes]]\nname = "data"\nupstream = "http://127.0.0.1:{upstream}"\n'
            'sites = ["path:/api/sites/{site}/**", "query:site", "header:X-Site"]\n'
            f'[ops]\nlisten = "127.0.0.1:{ops}"\n[admin]\nlisten = "127.0.0.1:{admin}"\n[log]\naccess = "off"\n'
        )
        stack.enter_context(process("bench.upstream", str(upstream)))
        door_pid = stack.enter_context(process("sitelatch", "serve", "--config", str(config)))
        wait_for(door)
        _sitelatch("sites", "add", "--config", str(config), "--workspace", "acme", *_SITES)
        person = ["--by-name", "Bench", "--by-email", "bench@example.com"]
        created = _sitelatch(
            "users", "create", "--config", str(config), "--workspace", "acme", "--site", "shop", *person
        )
        key = json.loads(created)["api_key"]
        naive_pid = stack.enter_context(process("bench.naive", str(naive), f"http://127.0.0.1:{upstream}", key))
        wait_for(naive)
        _load(naive, naive_pid, key, 1)
        _load(door, door_pid, key, 1)
        ours, naive_results = [], []
        for number in range(1, rounds + 1):
            naive_results.append(_load(naive, naive_pid, key, seconds))
            ours.append(_load(door, door_pid, key, seconds))
            _print(f"round {number}", naive_results[-1:], ours[-1:])
        _print("median", naive_results, ours)


def _print(title: str, naive: list[tuple[float, float]], ours: list[tuple[float, float]]) -> None:
    """Print the medians of the results and of their ratios."""
    pairs = list(zip(naive, ours, strict=True))
    faster = statistics.median(our[0] / their[0] for their, our in pairs)
    cheaper = statistics.median(their[1] / our[1] for their, our in pairs)
    shown = [[statistics.median(round_[at] for round_ in rounds) for at in (0, 1)] for rounds in (naive, ours)]
    print(
        f"{title:8}  naive {shown[0][0]:6.0f}/s {shown[0][1]:4.0f} µs   "
        f"sitelatch {shown[1][0]:6.0f}/s {shown[1][1]:4.0f} µs   ratio {faster:.2f}, by CPU time {cheaper:.2f}"
    )


if __name__ == "__main__":
    main()

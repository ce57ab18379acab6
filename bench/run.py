"""Throughput of the relay against a naive aiohttp proxy, side by side: `python -m bench.run [ROUNDS [SECONDS]]`.

Rounds alternate, so that a machine whose speed drifts treats both alike; what counts is the median of the ratios.
Everything runs on loopback, is bounded, and ends by itself. Needs wrk (Debian's package of that name).
"""

import json
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port} after {seconds:g} s")


@contextmanager
def _process(*arguments: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", *arguments], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _sitelatch(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "sitelatch", *arguments], check=True, capture_output=True, text=True
    ).stdout


def _requests_a_second(port: int, key: str, seconds: int) -> float:
    """Return what wrk reports; an answer that is not 2xx makes the figure worthless."""
    url = f"http://127.0.0.1:{port}/api/sites/shop/uptime?from=2026-01-01"
    out = subprocess.run(
        ["wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}", "-H", f"X-API-Key: {key}", url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    figure = re.search(r"Requests/sec:\s+([0-9.]+)", out)
    if "Non-2xx" in out or "Socket errors" in out or figure is None:
        raise SystemExit(f"the load did not pass:\n{out}")
    return float(figure[1])


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not on this machine: install it first (apt-get install wrk)")
    upstream, door, ops, admin, naive = (_free_port() for _ in range(5))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sitelatch-bench-")))
        config = folder / "config.toml"
        config.write_text(
            f'[proxy]\nlisten = "127.0.0.1:{door}"\n'
            f'[[proxy.routes]]\nname = "data"\nupstream = "http://127.0.0.1:{upstream}"\n'
            'sites = ["path:/api/sites/{site}/**", "query:site", "header:X-Site"]\n'
            f'[ops]\nlisten = "127.0.0.1:{ops}"\n[admin]\nlisten = "127.0.0.1:{admin}"\n[log]\naccess = "off"\n'
        )
        stack.enter_context(_process("bench.upstream", str(upstream)))
        stack.enter_context(_process("sitelatch", "serve", "--config", str(config)))
        _wait_for(door)
        _sitelatch("sites", "add", "--config", str(config), "--workspace", "acme", *_SITES)
        person = ["--by-name", "Bench", "--by-email", "bench@example.com"]
        made = _sitelatch("users", "create", "--config", str(config), "--workspace", "acme", "--site", "shop", *person)
        key = json.loads(made)["api_key"]
        stack.enter_context(_process("bench.naive", str(naive), f"http://127.0.0.1:{upstream}", key))
        _wait_for(naive)
        _requests_a_second(naive, key, 1)
        _requests_a_second(door, key, 1)
        ours, theirs, ratios = [], [], []
        for number in range(1, rounds + 1):
            theirs.append(_requests_a_second(naive, key, seconds))
            ours.append(_requests_a_second(door, key, seconds))
            ratios.append(ours[-1] / theirs[-1])
            print(f"round {number}: naive {theirs[-1]:8.0f}/s   sitelatch {ours[-1]:8.0f}/s   ratio {ratios[-1]:.2f}")
        print(
            f"median:  naive {statistics.median(theirs):8.0f}/s   sitelatch {statistics.median(ours):8.0f}/s   "
            f"ratio {statistics.median(ratios):.2f}"
        )


if __name__ == "__main__":
    main()

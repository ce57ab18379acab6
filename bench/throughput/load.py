"""Runs wrk with requests that rotate through API keys, and reads what it measured."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.throughput.candidates import Running
from bench.throughput.credentials import Credential
from bench.throughput.machine import LOAD_CORE, PROXY_CORE, cpu_seconds, idle_seconds, peak_memory, pinned

BROWSER_FIELDS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "application/json, text/plain, */*",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Referer": "https://app.example/reports/2026",
    "Origin": "https://app.example",
    "DNT": "1",
    "Sec-Fetch-Dest": "empty",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "same-site",
    "Sec-CH-UA": '"Chromium";v="128", "Not;A=Brand";v="24"',
    "Sec-CH-UA-Mobile": "?0",
    "Sec-CH-UA-Platform": '"Linux"',
    "Cookie": "theme=dark; session=4f2a9c; consent=yes",
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
    "Priority": "u=4",
    "TE": "trailers",
}
"""With Host and X-API-Key, these are the 20 header fields of a browser's request."""

_SCRIPT = """
local requests, at = {}, 0
function init(arguments)
    local body = wrk.body
    for line in io.lines("%(file)s") do
        local method, path, key = line:match("^(%%S+) (%%S+) (%%S+)$")
        wrk.headers["X-API-Key"] = key
        requests[#requests + 1] = wrk.format(method, path, wrk.headers, body)
    end
end
function request()
    at = at %% #requests + 1
    return requests[at]
end
function done(summary, latency)
    local failed = summary.errors
    io.write(string.format(
        'RESULT {"requests": %%d, "microseconds": %%d, "status": %%d, "socket": %%d, "p50": %%f, "p99": %%f}\\n',
        summary.requests, summary.duration, failed.status,
        failed.connect + failed.read + failed.write + failed.timeout,
        latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Load:
    """A kind of load: the requests, the connections, and how long one round takes."""

    name: str
    connections: int
    path: str = "/api/sites/{site}/uptime?from=2026-01-01"
    method: str = "GET"
    fields: tuple[tuple[str, str], ...] = ()
    body_bytes: int = 0
    https: bool = False
    seconds: float = 3
    warm_seconds: float = 0
    """How long the same load runs, unmeasured, before each round."""

    def script(self, folder: Path, credentials: Sequence[Credential]) -> Path:
        """Write a script for wrk that sends a request for each of these keys in rotation."""
        requests = folder / "requests"
        requests.write_text(
            "".join(f"{self.method} {self.path.format(site=one.site)} {one.key}\n" for one in credentials)
        )
        lines = [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in self.fields]
        if self.body_bytes:
            lines.append('wrk.headers["Content-Type"] = "application/octet-stream"')
            lines.append(f'wrk.body = string.rep("x", {self.body_bytes})')
        script = folder / "load.lua"
        script.write_text("\n".join(lines) + _SCRIPT % {"file": requests})
        return script


@dataclass(frozen=True)
class Round:
    """What one round measured. Times are in microseconds."""

    rate: float
    p50: float
    p99: float
    cpu: float
    """CPU time of the candidate per request."""
    idle: float
    """The share of the load generator's core that was idle."""
    proxy_idle: float
    """The share of the candidate's core that was idle."""
    memory: float
    """The candidate's peak memory in MiB."""


class LoadError(Exception):
    """Requests failed, so the round measured nothing."""


def _wrk(load: Load, script: Path, port: int, seconds: float) -> dict[str, float]:
    url = f"{'https' if load.https else 'http'}://127.0.0.1:{port}"
    with pinned(LOAD_CORE):
        output = subprocess.run(
            [
                *("wrk", "-t1", f"-c{load.connections}", f"-d{seconds:.0f}s", "--timeout", "10s"),
                *("--latency", "-s", str(script), url),
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    result = next(line for line in output.splitlines() if line.startswith("RESULT "))
    numbers: dict[str, float] = json.loads(result.removeprefix("RESULT "))
    if numbers["status"] or numbers["socket"] or not numbers["requests"]:
        raise LoadError(output)
    return numbers


def measure(load: Load, script: Path, running: Running) -> Round:
    """Run one round. Raises LoadError if a request fails."""
    port = running.tls if load.https else running.port
    if load.warm_seconds:
        _wrk(load, script, port, load.warm_seconds)
    cpu, idle, proxy_idle = cpu_seconds(running.pid), idle_seconds(LOAD_CORE), idle_seconds(PROXY_CORE)
    numbers = _wrk(load, script, port, load.seconds)
    return _round(numbers, running, cpu, idle, proxy_idle)


def measure_streams(kind: str, load: Load, script: Path, running: Running) -> Round:
    """Run one round with event streams or WebSockets. A request is then an event or an echo."""
    command = [sys.executable, "-m", "bench.throughput.streams", kind, str(running.port)]
    command += [str(script.with_name("requests")), str(load.connections), f"{load.seconds:g}"]
    with pinned(LOAD_CORE):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process as client:
        assert client.stdin is not None and client.stdout is not None  # noqa: S101, PT018 - both are pipes
        if client.stdout.readline() != "ready\n":
            raise LoadError(f"{kind}: not every connection was accepted")
        cpu, idle, proxy_idle = cpu_seconds(running.pid), idle_seconds(LOAD_CORE), idle_seconds(PROXY_CORE)
        client.stdin.write("\n")
        client.stdin.flush()
        numbers: dict[str, float] = json.loads(client.stdout.readline())
        result = _round(numbers, running, cpu, idle, proxy_idle)
        client.stdin.write("\n")
        client.stdin.flush()
    return result


def _round(numbers: dict[str, float], running: Running, cpu: float, idle: float, proxy_idle: float) -> Round:
    seconds = numbers["microseconds"] / 1e6
    return Round(
        rate=numbers["requests"] / seconds,
        p50=numbers["p50"],
        p99=numbers["p99"],
        cpu=(cpu_seconds(running.pid) - cpu) / numbers["requests"] * 1e6,
        idle=(idle_seconds(LOAD_CORE) - idle) / seconds,
        proxy_idle=(idle_seconds(PROXY_CORE) - proxy_idle) / seconds,
        memory=peak_memory(running.pid),
    )


def installed() -> bool:
    """Return whether wrk is installed."""
    return shutil.which("wrk") is not None

"""Compares Sitelatch with other proxies: `python -m bench.throughput [--quick] [--rounds N] [--only WORD]`.

Each proxy has a core of its own. The load generator, the upstream and the database use another one. The candidates
take turns, and the results are medians. A round is repeated if a fixed job shows that the machine was slower than
before. The full run writes bench/RESULTS.md. `--only` runs the sections with this word in their title.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from bench.processes import free_port, wait_for
from bench.throughput import peers
from bench.throughput.candidates import Place, Running
from bench.throughput.credentials import insert, new_credentials
from bench.throughput.load import BROWSER_FIELDS, Load, Round, installed, measure, measure_streams
from bench.throughput.machine import LOAD_CORE, Calibration, describe, pinned
from bench.throughput.other_proxies import envoy_program
from bench.throughput.report import table
from bench.throughput.upstream import DOWNLOAD_BYTES, upstream
from sql.embedded.server import EmbeddedServer

_RESULTS = Path(__file__).resolve().parents[1] / "RESULTS.md"
_KEYS = 10_000
_MANY_KEYS = 100_000
_ROTATION = 1_000
_REPEATS = 5
_OURS = peers.SITELATCH.name
_DIRECT = "direct, no proxy"


@dataclass(frozen=True)
class Section:
    """Candidates that are compared with each other under the same load."""

    load: Load
    candidates: Sequence[str]
    ours: str = _OURS
    keys: int = _ROTATION
    streams: str | None = None
    """A kind of client from bench.throughput.streams, used instead of wrk."""


_THREE = (peers.NGINX.name, peers.NGINX_LUA.name, _OURS)
_EVERY = (_DIRECT, *(candidate.name for candidate in peers.ALL))
_MEDIUM = "1 KiB, 32 connections"
_FULL = (
    Section(Load(_MEDIUM, 32), _EVERY),
    Section(Load("1 KiB, 1 connection", 1, seconds=2), _EVERY),
    Section(Load("1 KiB, 256 connections", 256), _THREE),
    Section(
        Load(
            "A browser's 20 request fields, 12 response fields, 32 connections",
            32,
            path="/api/sites/{site}/browser",
            fields=tuple(BROWSER_FIELDS.items()),
        ),
        _THREE,
    ),
    Section(Load("A new connection for each request, 32 at a time", 32, fields=(("Connection", "close"),)), _THREE),
    Section(
        Load("HTTPS, 32 connections", 32, https=True),
        (peers.NGINX.name, peers.NGINX_LUA.name, peers.SITELATCH_HTTPS.name),
        ours=peers.SITELATCH_HTTPS.name,
    ),
    Section(Load("Downloads of 10 MiB, 8 connections", 8, path="/api/sites/{site}/download"), _THREE),
    Section(
        Load(
            "Uploads of 10 MiB, 8 connections",
            8,
            path="/api/sites/{site}/upload",
            method="POST",
            body_bytes=DOWNLOAD_BYTES,
        ),
        _THREE,
    ),
    Section(
        Load("100,000 keys in rotation, 32 connections", 32, warm_seconds=8),
        (_OURS,),
        keys=_MANY_KEYS,
    ),
    Section(
        Load("1,000 event streams", 1000, path="/api/sites/{site}/events"),
        _THREE,
        streams="events",
    ),
    Section(
        Load("WebSocket echo, 32 connections", 32, path="/api/sites/{site}/echo"),
        _THREE,
        streams="echo",
    ),
)
_QUICK = (Section(Load(_MEDIUM, 32), (peers.NGINX_LUA.name, peers.NAIVE.name, _OURS)),)


@contextmanager
def _started(folder: Path, wanted: frozenset[str], keys: int) -> Iterator[tuple[Place, Mapping[str, Running]]]:
    """Start the upstream, the database and the candidates."""
    with ExitStack() as stack:
        with pinned(LOAD_CORE):
            server = EmbeddedServer.open(folder / "postgres")
        stack.callback(server.close)
        credentials = new_credentials(keys)
        asyncio.run(insert(server.dsn, credentials))
        certificate, private_key = _certificate(folder)
        streams = free_port()
        with pinned(LOAD_CORE):
            process = subprocess.Popen([sys.executable, "-m", "bench.throughput.streams", "upstream", str(streams)])
        stack.callback(process.wait)
        stack.callback(process.terminate)
        wait_for(streams)
        place = Place(folder, 0, credentials, server.dsn, certificate, private_key)
        service = stack.enter_context(upstream(streams).start(place, LOAD_CORE))
        place = replace(place, upstream=service.port)
        running = {_DIRECT: service}
        fewer = replace(place, credentials=credentials[:_KEYS])
        for candidate in (*peers.ALL, peers.SITELATCH_HTTPS):
            if candidate.name in wanted:
                running[candidate.name] = stack.enter_context(candidate.start(fewer))
        yield place, running


def _certificate(folder: Path) -> tuple[Path, Path]:
    certificate, private_key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=127.0.0.1", "-keyout", str(private_key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, private_key


def _steadily(calibration: Calibration, run: Callable[[], Round]) -> Round:
    """Run a round again if the machine was slow during it."""
    for _ in range(_REPEATS):
        slow = calibration.slow()
        result = run()
        if not slow and not calibration.slow():
            return result
    print("This round may be wrong: the machine stayed slow.", flush=True)
    return result


def _rounds(
    section: Section, place: Place, running: Mapping[str, Running], calibration: Calibration, count: int
) -> dict[str, list[Round]]:
    folder = Path(tempfile.mkdtemp(dir=place.folder))
    script = section.load.script(folder, place.credentials[: section.keys])
    results: dict[str, list[Round]] = {name: [] for name in section.candidates}
    for number in range(count):
        for name, rounds in results.items():
            one = running[name]

            def run(one: Running = one) -> Round:
                if section.streams is not None:
                    return measure_streams(section.streams, section.load, script, one)
                return measure(section.load, script, one)

            if number == 0:
                run()  # fills caches, and opens the connections to the upstream
            rounds.append(_steadily(calibration, run))
    return results


def _versions() -> str:
    """Return the versions of the software under test."""
    commands = {
        "nginx": ["nginx", "-v"],
        "HAProxy": ["haproxy", "-v"],
        "Envoy": [envoy_program(), "--version"],
        "Caddy": ["caddy", "version"],
        "wrk": ["wrk", "-v"],
    }
    lines = [f"- Python {sys.version.split()[0]}"]
    for name, command in commands.items():
        output = subprocess.run(command, capture_output=True, text=True, check=False)
        first = next((line.strip() for line in (output.stdout + output.stderr).splitlines() if line.strip()), "unknown")
        lines.append(f"- {name}: {first}")
    return "\n".join(lines)


def _introduction(rounds: int) -> str:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout
    return (
        f"# Throughput\n\nMeasured by `make bench` on {datetime.now(UTC):%Y-%m-%d}, commit {commit.strip()}.\n\n"
        f"{describe()}. Each proxy runs alone on one core. wrk, nginx as the upstream and PostgreSQL share another.\n"
        f"{_KEYS:,} API keys, {_ROTATION:,} of them in rotation. The figures are medians of {rounds} rounds, in which\n"
        "the candidates take turns. CPU is the CPU time of all processes of the proxy, per request. The idle shares\n"
        "are those of the proxy's core and of the load generator's. If the second is near zero, the load generator\n"
        "limits the requests per second, and the CPU time is the better measure.\n\n" + _versions() + "\n\n"
    )


def main(arguments: Sequence[str]) -> int:
    """Run the sections, print the results, and write them to RESULTS.md after a full run."""
    parser = argparse.ArgumentParser(prog="bench.throughput")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="")
    options = parser.parse_args(arguments)
    if not installed():
        raise SystemExit("wrk is not installed: apt-get install wrk")
    sections = [each for each in (_QUICK if options.quick else _FULL) if options.only in each.load.name]
    wanted = frozenset(name for section in sections for name in section.candidates)
    checks = {candidate.name: candidate.check for candidate in (*peers.ALL, peers.SITELATCH_HTTPS)}
    parts = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sitelatch-bench-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)  # root starts PostgreSQL as another user
        keys = max(_KEYS, *(section.keys for section in sections))
        with _started(folder, wanted, keys) as (place, running):
            calibration = Calibration()
            for section in sections:
                results = _rounds(section, place, running, calibration, options.rounds)
                unit = "messages/s" if section.streams else "requests/s"
                parts.append(table(section.load.name, results, ours=section.ours, checks=checks, per_second=unit))
                print(parts[-1], flush=True)
    print(f"{time.monotonic() - began:.0f} s")
    if not options.quick and not options.only:
        _RESULTS.write_text(_introduction(options.rounds) + "\n".join(parts))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

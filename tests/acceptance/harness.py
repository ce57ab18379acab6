"""A Sitelatch process with its config file, as in production, and access to its admin API and metrics."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.shell import Command
from tests.acceptance.wire import DEADLINE_SECONDS, Upstream, listening_socket, port_of
from tests.ports import free_port

START_SECONDS = 60.0
"""The longest that a process may take to start, on a slow machine."""

_STOP_SECONDS = 10.0
"""How long a process may take to stop before it is killed."""

ADMIN_TOKEN = "sla_" + "acceptance" * 5
REPOSITORY = Path(__file__).resolve().parents[2]

Table = Mapping[str, Any]


def toml_value(value: object) -> str:
    """Return a value in TOML syntax. Strings, numbers, booleans and arrays are written as in JSON."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return json.dumps(value)


def toml(tables: Mapping[str, Table]) -> str:
    return "\n".join(
        f"[{name}]\n" + "".join(f"{json.dumps(key)} = {toml_value(value)}\n" for key, value in table.items())
        for name, table in tables.items()
    )


class Sitelatch:
    """One `serve` process, with its config and its output in a directory."""

    def __init__(self, folder: Path, database_url: str, routes: Sequence[Table], **tables: Table) -> None:
        self.folder = folder
        proxy: dict[str, Any] = {"listen": f"127.0.0.1:{free_port()}", "routes": list(routes)}
        proxy |= tables.pop("proxy", {})
        self.address: str = proxy["listen"]
        self.ops = f"127.0.0.1:{free_port()}"
        self.admin = f"127.0.0.1:{free_port()}"
        token = {
            "name": "Ada Admin",
            "email": "ada@example.com",
            "sha256": hashlib.sha256(ADMIN_TOKEN.encode()).hexdigest(),
        }
        self.tables: dict[str, Table] = {
            "proxy": proxy,
            "ops": {"listen": self.ops},
            "admin": {"listen": self.admin, "tokens": [token]},
            "database": {"url": database_url},
            **tables,
        }
        self.config = folder / "sitelatch.toml"
        self.output = folder / "output.log"
        self._process: Command | subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def start(self) -> None:
        self.launch()
        self.wait_for_readiness(200)

    def launch(self) -> None:
        """Start the process without waiting for it to be ready."""
        self._prepare()
        words = ("serve", "--config", str(self.config))
        self._process = Command(words, {}, stdin=Path(os.devnull), stdout=self.output, stderr=self.output)

    def launch_alone(
        self,
        *prefix: str,
        words: tuple[str, ...] = ("serve",),
        stderr: int | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Start a new interpreter with a command, as the `sitelatch` script does. `prefix` is a program that runs it.

        Its standard error is `stderr`, or the output file.
        """
        self._prepare()
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "sitelatch", *words, "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output if stderr is None else stderr,
                env=os.environ | (environ or {}),
            )

    def _prepare(self) -> None:
        self.config.write_text(toml(self.tables))
        self.output.touch()

    def wait_for_readiness(self, status: int) -> None:
        """Wait until the readiness probe returns this status."""
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while self.ready() != status:
            assert self._process.poll() is None, f"serve exited:\n{self.output.read_text()[-4000:]}"
            assert time.monotonic() < deadline, f"readiness is not {status}:\n{self.output.read_text()[-4000:]}"
            time.sleep(0.05)

    def ready(self) -> int | None:
        """Return the status of the readiness probe, or None if nothing listens."""
        try:
            with httpx.Client(trust_env=False, timeout=5) as client:
                return client.get(f"http://{self.ops}/readyz").status_code
        except httpx.TransportError:
            return None

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, seconds: float = START_SECONDS) -> int:
        """Wait for the process to exit, and return its exit code."""
        assert self._process is not None
        return self._process.wait(seconds)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        if not self.running:
            return
        self.signal()
        try:
            self.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.wait()

    @property
    def feed_losses(self) -> int:
        """How often the change feed has been lost so far. The bounds for a working feed do not apply during a loss."""
        return sum(line["event"] == "feed_down" for line in self.log_lines())

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.read_text().splitlines()]

    def wait_for_log(self, event: str) -> dict[str, Any]:
        """Wait until the process has logged this event, and return the latest line. Lines are written with a delay."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (lines := [line for line in self.log_lines() if line["event"] == event]):
            assert time.monotonic() < deadline, f"{event} is not logged:\n{self.output.read_text()[-4000:]}"
            time.sleep(0.02)
        return lines[-1]

    def memory_kib(self, what: str) -> int:
        """Return `VmRSS` (current) or `VmHWM` (peak) of the process."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1])
        raise AssertionError(f"no {what} in /proc")

    def metrics(self) -> str:
        with httpx.Client(trust_env=False) as client:
            return client.get(f"http://{self.ops}/metrics").raise_for_status().text

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of a metric that have these labels."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.metrics())
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    @contextlib.contextmanager
    def admin_client(self, token: str = ADMIN_TOKEN) -> Iterator[httpx.Client]:
        with httpx.Client(
            base_url=f"http://{self.admin}/admin",
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
            timeout=DEADLINE_SECONDS,
        ) as client:
            yield client

    def create_user(self, workspace: str, *sites: str, all_sites: bool = False) -> "User":
        scope: dict[str, object] = {"all_sites": True} if all_sites else {"sites": list(sites)}
        with self.admin_client() as client:
            answer = client.post("/users", json={"workspace": workspace, **scope})
        assert answer.status_code == 201, answer.text
        return User(answer.json()["id"], answer.json()["api_key"])

    def create_sites_and_users(self) -> "Keys":
        """Create the sites shop, blog and docs of acme and wiki of globex, and one API user for each kind of scope."""
        with self.admin_client() as client:
            for workspace in ("acme", "globex"):
                answer = client.post("/workspaces", json={"name": workspace})
                assert answer.status_code in (200, 201, 409), answer.text
            for site, workspace in (("shop", "acme"), ("blog", "acme"), ("docs", "acme"), ("wiki", "globex")):
                answer = client.put(f"/sites/{site}", json={"workspace": workspace})
                assert answer.status_code in (200, 201), answer.text
        return Keys(
            shop=self.create_user("acme", "shop"),
            shop_and_blog=self.create_user("acme", "shop", "blog"),
            blog=self.create_user("acme", "blog"),
            acme=self.create_user("acme", all_sites=True),
            wiki=self.create_user("globex", "wiki"),
        )


@dataclass(frozen=True)
class User:
    """An API user and its API key."""

    id: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class Keys:
    """One API user for each kind of scope. `wiki` belongs to the other workspace."""

    shop: User
    shop_and_blog: User
    blog: User
    acme: User
    wiki: User


@dataclass
class Lane:
    """One route with its own upstream, so that tests do not share upstream connections.

    Requests name their site in the path (`/lane3/sites/{site}/…`), in the query (`site=`) or in the header `X-Site`.
    """

    name: str
    socket: socket.socket
    latch: Sitelatch
    keys: Keys
    upstream: Upstream

    def target(self, rest: str) -> str:
        return f"/{self.name}{rest}"

    def request(
        self, method: str, rest: str, *lines: str, user: User | None = None, body: bytes = b"", version: str = "1.1"
    ) -> bytes:
        """Return the bytes of a request with `Host`, the key of `user` (by default the user for shop) and `lines`."""
        key = (user or self.keys.shop).key
        return self.keyless(method, rest, f"X-API-Key: {key}", *lines, body=body, version=version)

    def keyless(self, method: str, rest: str, *lines: str, body: bytes = b"", version: str = "1.1") -> bytes:
        start = f"{method} {self.target(rest)} HTTP/{version}"
        return "\r\n".join((start, "Host: data.example", *lines, "", "")).encode("latin-1") + body


class Lanes:
    """The lanes of one process. Each call of `next` returns an unused lane."""

    def __init__(self, count: int, **route: Any) -> None:
        self._sockets = [listening_socket() for _ in range(count)]
        self._route = route
        self._next = 0

    def routes(self) -> list[Table]:
        return [self._lane_route(f"lane{number}", sock) for number, sock in enumerate(self._sockets)]

    def _lane_route(self, name: str, sock: socket.socket) -> Table:
        return {
            "name": name,
            "path": f"/{name}",
            "upstream": f"http://127.0.0.1:{port_of(sock)}",
            "sites": [f"path:/{name}/sites/{{site}}/**", "query:site", "header:X-Site"],
            "public": [f"GET /{name}/health"],
            # Most requests in the tests have a body without a media type, which some servers (Rack) read as a form.
            "form_body": "pass",
            **self._route,
        }

    def next(self, latch: Sitelatch, keys: Keys) -> Lane:
        assert self._next < len(self._sockets), "more tests than lanes: raise the count in the module's fixture"
        number, self._next = self._next, self._next + 1
        sock = self._sockets[number]
        return Lane(f"lane{number}", sock, latch, keys, Upstream(sock))

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


@dataclass
class Bench:
    """One process with its keys and lanes, shared by the tests of a module."""

    latch: Sitelatch
    keys: Keys
    lanes: Lanes


@contextlib.contextmanager
def serving(
    folder: Path, database_url: str, lanes: Lanes, routes: Sequence[Table] = (), **tables: Table
) -> Iterator[Bench]:
    """Run Sitelatch with `lanes`, more `routes`, and the usual sites and keys, and stop it afterwards."""
    latch = Sitelatch(folder, database_url, [*routes, *lanes.routes()], **tables)
    try:
        latch.start()
        yield Bench(latch, latch.create_sites_and_users(), lanes)
    finally:
        latch.stop()
        lanes.close()

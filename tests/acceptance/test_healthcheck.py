"""`sitelatch healthcheck`, which container health checks run next to `serve`."""

import json
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.acceptance.harness import START_SECONDS, Sitelatch, toml
from tests.acceptance.shell import Done, sitelatch
from tests.ports import free_port

ROUTE = {"name": "data", "upstream": "http://127.0.0.1:9", "sites": ["query:site"]}
NO_DATABASE = "postgresql://127.0.0.1:1/none"


def check(latch: Sitelatch, *options: str) -> Done:
    return sitelatch("healthcheck", "--config", str(latch.config), *options)


def test_a_ready_process_is_healthy(tmp_path: Path, database_url: str) -> None:
    latch = Sitelatch(tmp_path, database_url, [ROUTE])
    try:
        latch.start()
        done = check(latch)
        assert (done.code, json.loads(done.out)["status"], done.err) == (0, "ready", "")
    finally:
        latch.stop()
    done = check(latch)
    assert done.code == 1
    assert "Connection refused" in done.log[0]["reason"]


def test_a_process_that_is_not_ready_is_only_live(tmp_path: Path) -> None:
    latch = Sitelatch(tmp_path, NO_DATABASE, [ROUTE], ops={"listen": f"0.0.0.0:{free_port()}"})
    latch.ops = str(latch.tables["ops"]["listen"]).replace("0.0.0.0", "127.0.0.1")
    try:
        latch.launch()
        latch.wait_for_readiness(503)
        done = check(latch)
        assert (done.code, done.out) == (1, "")
        assert "/readyz" in done.log[0]["reason"]
        assert "answered 503" in done.log[0]["reason"]
        assert check(latch, "--live").code == 0
    finally:
        latch.stop()


def test_a_unix_socket_can_be_checked(tmp_path: Path, database_url: str) -> None:
    latch = Sitelatch(tmp_path, database_url, [ROUTE], ops={"listen": f"unix:{tmp_path}/ops.sock"})
    latch.launch()
    try:
        deadline = time.monotonic() + START_SECONDS
        while check(latch).code != 0:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        latch.stop()


@pytest.mark.parametrize(("answer", "reason"), [(b"", "timed out"), (b"nonsense\r\n\r\n", "nonsense")])
def test_a_missing_or_malformed_response_is_unhealthy(tmp_path: Path, answer: bytes, reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(1000)
                peer.sendall(answer)

        latch = Sitelatch(tmp_path, NO_DATABASE, [ROUTE], ops={"listen": f"127.0.0.1:{server.getsockname()[1]}"})
        latch.config.write_text(toml(latch.tables))
        if answer:
            threading.Thread(target=serve, daemon=True).start()
        done = check(latch)
    assert (done.code, done.log[0]["event"]) == (1, "unhealthy")
    assert reason in done.log[0]["reason"]

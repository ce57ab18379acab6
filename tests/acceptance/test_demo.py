"""`sitelatch run`: the printed commands work, and Ctrl-C stops everything."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

START_SECONDS = 90.0
ROOT = Path(__file__).parents[2]


class Demo:
    """One run of the demo in a directory."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.output = folder / "stdout"
        self.log = folder / "stderr"
        with self.output.open("wb") as output, self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sitelatch", "run", "--directory", str(folder / "var"), *options],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                # Otherwise Ctrl-C in the terminal of the tests would stop the demo too.
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while "Ctrl-C" not in self.text:
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    @property
    def text(self) -> str:
        return self.output.read_text()

    @property
    def curls(self) -> list[tuple[str, list[str]]]:
        """Each printed curl command, with the description above it."""
        return [
            (text, shlex.split(line)) for text, line in re.findall(r"^(\S.*)\n  (curl .*)$", self.text, re.MULTILINE)
        ]

    def interrupt(self) -> int:
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(START_SECONDS)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def demo_in(folder: Path, *options: str) -> Iterator[Demo]:
    demo = Demo(folder, *options)
    try:
        yield demo
    finally:
        demo.kill()


def curl(words: list[str]) -> tuple[int, str]:
    """Run a printed curl command, and return the status and the body."""
    done = subprocess.run(
        [*words, "--silent", "--show-error", "--noproxy", "*", "--max-time", "30"],
        capture_output=True,
        text=True,
        check=True,
    )
    head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    return int(head.split()[1]), body


def children_of(folder: Path) -> list[str]:
    """Return the command lines of the processes that mention `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


def test_every_printed_command_does_what_its_description_says(tmp_path: Path) -> None:
    with demo_in(tmp_path) as demo:
        answers = [(text, *curl(words)) for text, words in demo.curls]
        assert len(answers) == 6
        passes, other_site, other_workspace, no_key, users, metrics = answers
        assert json.loads(passes[2])["site"] == "shop"
        for text, status, _ in (passes, other_site, other_workspace, no_key):
            assert text.startswith(f"{status}:")
        for _, status, body in (other_site, other_workspace, no_key):
            assert json.loads(body)["status"] == status
        assert [answer[1] for answer in answers] == [200, 403, 403, 401, 200, 200]
        listed = {user["name"]: user for user in json.loads(users[2])["items"]}
        assert listed["demo: all sites"]["all_sites"]
        assert listed["demo: shop"]["sites"] == ["shop"]
        assert listed["demo: shop"]["keys"][0]["recoverable"]
        assert 'sitelatch_exchanges_total{outcome="passed",route="data",status="200"} 1' in metrics[2]
        assert demo.interrupt() == 0
        log = [json.loads(line) for line in demo.log.read_text().splitlines()]
        assert any(line["event"] == "stopped" for line in log)
        assert children_of(tmp_path) == []


def test_a_restart_keeps_the_database_but_replaces_the_keys_and_uses_free_ports(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        upstream = f"http://127.0.0.1:{server.getsockname()[1]}"
        with demo_in(tmp_path, "--upstream", upstream) as first:
            assert first.interrupt() == 0
            first_keys = set(re.findall(r"slk_\w+", first.text))
        (tmp_path / "other").mkdir()
        with demo_in(tmp_path / "other") as other, demo_in(tmp_path, "--upstream", upstream) as second:
            keys = re.findall(r"slk_\w+", second.text)
            assert keys
            assert not set(keys) & first_keys
            assert f"in front of {upstream}" in second.text
            # Both run at the same time, so the second one chose other ports.
            for demo in (other, second):
                text, words = demo.curls[1]
                assert text.startswith("403")
                assert curl(words)[0] == 403
            users = json.loads(curl(second.curls[4][1])[1])["items"]
            assert sorted(user["name"] for user in users) == ["demo: all sites", "demo: shop"]
            assert curl(demo.curls[4][1])[0] == 200


def test_two_demos_that_start_at_once_use_different_ports(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor() as threads:
        begun = [threads.submit(Demo, folder) for folder in folders]
    demos = [each.result() for each in begun if each.exception() is None]
    try:
        assert [each.exception() for each in begun] == [None, None]
        assert [curl(demo.curls[0][1])[0] for demo in demos] == [200, 200]
        assert [demo.interrupt() for demo in demos] == [0, 0]
    finally:
        for demo in demos:
            demo.kill()


def test_a_second_demo_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    with demo_in(tmp_path):
        done = subprocess.run(
            [sys.executable, "-m", "sitelatch", "run", "--directory", str(tmp_path / "var")],
            cwd=ROOT,
            env=dict(os.environ),
            capture_output=True,
            text=True,
            check=False,
            timeout=START_SECONDS,
        )
        assert done.returncode == 1
        assert "a demo is already running in" in done.stderr


def test_an_invalid_upstream_is_reported(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sitelatch", "run", "--directory", str(tmp_path / "var"), "--upstream", "nonsense"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )
    assert done.returncode == 2
    assert '[[proxy.routes]] \\"data\\"' in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_start_stops_the_demo(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "sitelatch", "run", "--directory", str(tmp_path / "var")],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    deadline = time.monotonic() + START_SECONDS
    while not (tmp_path / "var" / "postgres").is_dir():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    _, log = process.communicate(timeout=START_SECONDS)
    assert process.returncode == 0, log


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGHUP])
def test_the_demo_serves_and_stops_although_nobody_reads_its_output(tmp_path: Path, signal_number: int) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b" " * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    with (tmp_path / "stderr").open("wb") as log:
        demo = subprocess.Popen(
            [sys.executable, "-m", "sitelatch", "run", "--directory", str(tmp_path / "var")],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=log,
            start_new_session=True,
        )
    os.close(writer)
    try:
        deadline = time.monotonic() + START_SECONDS
        status = 0
        while status != 401:
            assert demo.poll() is None, (tmp_path / "stderr").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
            if listen := re.search(r'listen = "(.*?)"', read_config(tmp_path / "var" / "sitelatch.toml")):
                status = status_of(f"http://{listen[1]}/api/sites/shop/uptime")
        demo.send_signal(signal_number)
        assert demo.wait(START_SECONDS) == 0
    finally:
        demo.kill()
        demo.wait()
        os.close(reader)


def read_config(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def status_of(url: str) -> int:
    """Return the status of a response, or 0 if nothing listens."""
    words = ["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", "--noproxy", "*", "--max-time", "10", url]
    return int(subprocess.run(words, capture_output=True, check=False).stdout)

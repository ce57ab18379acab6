"""Files that are read again when they change."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from proxy.relay.tls_files import WatchedFiles
from sitelatch.file_watch import FileWatch
from tests.scopes import Clock, until


class Content:
    """A file, and the content that the program uses."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.file.write_text("first")
        self.used = "first"
        self.loads = 0

    def watched(self) -> WatchedFiles:
        return WatchedFiles("[table]", (str(self.file),), self._load)

    def _load(self) -> Callable[[], None]:
        self.loads += 1
        text = self.file.read_text()
        if text == "broken":
            raise ValueError
        if text == "a defect of the loader":
            raise KeyError

        def use() -> None:
            self.used = text

        return use


@pytest.fixture
def content(tmp_path: Path) -> Content:
    return Content(tmp_path / "file")


async def events(watch: FileWatch, *, asked: bool = False) -> list[str]:
    """Check the files, and return the events in the log."""
    with structlog.testing.capture_logs() as lines:
        await watch.check(asked=asked)
    assert all(line["place"] == "[table]" for line in lines)
    return [line["event"] for line in lines]


async def test_a_change_is_used_once_and_logged(content: Content) -> None:
    watch = FileWatch([content.watched()])
    assert await events(watch) == []
    content.file.write_text("second")
    assert await events(watch) == ["files_reloaded"]
    assert content.used == "second"
    loads = content.loads
    assert await events(watch) == []
    assert content.loads == loads


async def test_a_change_between_the_start_and_the_first_check_is_used(content: Content) -> None:
    content.file.write_text("second")
    assert await events(FileWatch([content.watched()])) == []
    assert content.used == "second"


@pytest.mark.parametrize("fault", ["broken", "a defect of the loader", None])
async def test_a_version_that_cannot_be_used_is_logged_once_and_tried_again(
    content: Content, fault: str | None
) -> None:
    watch = FileWatch([content.watched()])
    await watch.check()
    if fault is None:
        content.file.unlink()
    else:
        content.file.write_text(fault)
    assert await events(watch) == ["files_not_reloaded"]
    assert await events(watch) == []
    assert content.used == "first"
    content.file.write_text("second")
    assert await events(watch) == ["files_reloaded"]
    assert content.used == "second"


async def test_a_change_that_keeps_the_size_and_the_time_is_noticed(content: Content) -> None:
    watch = FileWatch([content.watched()])
    await watch.check()
    before = content.file.stat()
    content.file.write_text("other")  # in place, and as long as "first"
    os.utime(content.file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert await events(watch) == ["files_reloaded"]
    assert content.used == "other"


async def test_a_pipe_is_not_read_again(content: Content) -> None:
    watch = FileWatch([content.watched()])
    content.file.unlink()
    os.mkfifo(content.file)
    assert await events(watch, asked=True) == []
    assert content.loads == 0


async def test_a_request_to_reload_reads_everything_and_is_always_answered_in_the_log(content: Content) -> None:
    watch = FileWatch([content.watched()])
    assert await events(watch, asked=True) == ["files_reloaded"]
    assert await events(watch, asked=True) == ["files_reloaded"]
    content.file.write_text("broken")
    assert await events(watch, asked=True) == ["files_not_reloaded"]
    assert await events(watch, asked=True) == ["files_not_reloaded"]


async def test_everything_is_read_again_each_day(content: Content) -> None:
    """Files on a network file system, and directories of authorities, can change without a new modification time."""
    clock = Clock()
    watch = FileWatch([content.watched()], clock=clock)
    await watch.check()
    loads = content.loads
    clock.now += 86_000
    await watch.check()
    assert content.loads == loads
    clock.now += 500
    assert await events(watch) == []
    assert content.loads == loads + 1


async def test_the_loop_reloads_when_it_is_asked_to(content: Content) -> None:
    watch = FileWatch([content.watched()])
    reload = asyncio.Event()
    running = asyncio.create_task(watch.run(reload))
    for text in ("second", "third"):
        content.file.write_text(text)
        reload.set()
        await until(lambda text=text: content.used == text)  # type: ignore[misc]
    running.cancel()

"""Counts the instructions that each request costs, with callgrind. The result does not depend on the machine's load.

`Counter` starts one process under valgrind, which sends all requests through `bench.driver`. The process tells
callgrind when a request begins and ends, so the figures include neither Python's startup nor the preparation. Times
would vary more, and a profile of Python functions would not show the cost of a regular expression.
"""

import asyncio
import contextlib
import ctypes
import gc
import json
import mmap
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from bench.driver import Driver, Setup

_WARM_UP = 40
"""Requests that are sent before a warm one is counted, because the interpreter specializes code during the first
calls."""

# A client request to valgrind, as defined in valgrind/valgrind.h for x86-64: rotations that cancel out, and an exchange
# of a register with itself, which valgrind recognizes. On a real processor, it does nothing.
_REQUEST = bytes.fromhex(
    "4889f8"  # mov rax, rdi: the request
    "31d2"  # xor edx, edx: the result outside valgrind
    "48c1c703 48c1c70d 48c1c73d 48c1c733"  # rol rdi, 3 / 13 / 61 / 51
    "4887db"  # xchg rbx, rbx
    "4889d0"  # mov rax, rdx
    "c3"  # ret
)
_RUNNING_ON_VALGRIND = 0x1001
_CALLGRIND = ord("C") << 24 | ord("T") << 16
_DUMP, _ZERO, _START = _CALLGRIND, _CALLGRIND + 1, _CALLGRIND + 4


@dataclass(frozen=True)
class Request:
    """A request to count, and the name of its setup."""

    setup: str
    data: bytes
    warm: bool = False
    """Whether the same request was sent before the counted one. If not, none of its bytes are in any cache."""
    response: bytes = b""
    """The upstream's response. If set, a whole exchange is counted, on connections that are already warm."""
    introduction: bytes = b""
    """A request to send first on these connections, such as one whose response shows that bodies are read."""


@dataclass(frozen=True)
class Count:
    """The cost of one request, and its outcome."""

    instructions: int
    code: str


def available() -> bool:
    """Return whether instructions can be counted on this machine."""
    return shutil.which("valgrind") is not None and platform.machine() in ("x86_64", "AMD64")


_NO_SETUP = ""
REFERENCE = Request(_NO_SETUP, b"")
"""Counts a fixed piece of Python code, whose cost depends only on the Python build."""


class Counter:
    """A process under valgrind that counts requests one after another. It is a context manager."""

    def __init__(self, setups: Mapping[str, Setup]) -> None:
        self._setups = setups

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="sitelatch-count-")
        self._dumps = Path(self._folder.name) / "dump"
        self._errors = (Path(self._folder.name) / "errors").open("w+")
        self._process = subprocess.Popen(
            [
                "valgrind",
                "--tool=callgrind",
                "--instr-atstart=no",
                f"--callgrind-out-file={self._dumps}",
                sys.executable,
                "-m",
                "bench.instructions",
            ],
            cwd=Path(__file__).parents[1],
            env=os.environ | {"PYTHONHASHSEED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._counted = 0
        self._ask({name: asdict(setup) for name, setup in self._setups.items()})
        self._empty = self._total()
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()
        self._folder.cleanup()

    def count(self, request: Request) -> Count:
        """Count a request. Raises RuntimeError if the process has ended."""
        texts = [text.decode("latin-1") for text in (request.data, request.response, request.introduction)]
        code = self._ask([request.setup, request.warm, *texts])
        return Count(self._total() - self._empty, code)

    def _ask(self, question: object) -> str:
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        with contextlib.suppress(BrokenPipeError):  # the process has ended, so there is no answer either
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            self._errors.seek(0)
            raise RuntimeError(f"the count failed:\n{self._errors.read()[-4000:]}")
        return answer.strip()

    def _total(self) -> int:
        """Return the instructions in the latest dump, which the process wrote before it answered."""
        self._counted += 1
        dump = self._dumps.with_suffix(f".{self._counted}")
        with dump.open() as lines:
            total = next(int(line.split()[1]) for line in lines if line.startswith("summary:"))
        dump.unlink()
        return total


def count(setups: Mapping[str, Setup], requests: Sequence[Request]) -> list[Count]:
    """Count each request."""
    with Counter(setups) as counter:
        return [counter.count(request) for request in requests]


class _Callgrind:
    """Controls callgrind, which runs this process."""

    def __init__(self) -> None:
        self._code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._code.write(_REQUEST)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        self._call = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(address)
        self._arguments: dict[int, Any] = {}
        if not self._ask(_RUNNING_ON_VALGRIND):
            raise SystemExit("run this by bench.instructions.count, under valgrind")

    def _ask(self, request: int) -> int:
        arguments = self._arguments.setdefault(request, (ctypes.c_uint64 * 6)(request))
        answer: int = self._call(ctypes.addressof(arguments))
        return answer

    def start(self) -> None:
        """Start counting."""
        self._ask(_START)

    def zero(self) -> None:
        """Reset the count."""
        self._ask(_ZERO)

    def dump(self) -> None:
        """Write the count to the file."""
        self._ask(_DUMP)


async def _nothing() -> None:
    """Do nothing, to measure the cost of a call."""


def _reference() -> None:
    """Split and join a fixed head a few times. Its cost shows what such work costs in this Python build."""
    head = b"".join(b"X-Name-%d: value %d\r\n" % (number, number) for number in range(20))
    for _ in range(10):
        fields = [line.partition(b": ") for line in head.split(b"\r\n")]
        head = b"\r\n".join([name.lower() + b": " + value for name, _, value in fields])


def _count_reference(callgrind: _Callgrind) -> str:
    for _ in range(_WARM_UP):
        _reference()
    callgrind.zero()
    _reference()
    callgrind.dump()
    return "done"


async def _count_head(callgrind: _Callgrind, driver: Driver, data: bytes, *, warm: bool) -> str:
    """Count a request up to the decision. Return the outcome."""
    if warm:
        for _ in range(_WARM_UP):
            await driver.send(data)
    else:
        driver.forget()
    visit = driver.connect()
    gc.collect()
    callgrind.zero()
    await visit.send(data)
    callgrind.dump()
    return visit.outcome.code


def _count_exchange(callgrind: _Callgrind, driver: Driver, introduction: bytes, data: bytes, response: bytes) -> str:
    """Count a request and its response on warm connections. Return the response's status."""
    visit = driver.connect()
    visit.exchange(introduction or data, response)
    for _ in range(_WARM_UP):
        visit.exchange(data, response)
    driver.flush_log()
    visit.exchange(data, response)  # starts a new batch of log lines
    visit.client.written = b""
    gc.collect()
    callgrind.zero()
    visit.exchange(data, response)
    callgrind.dump()
    status = visit.client.written.split()[1].decode()
    visit.downstream.connection_lost(None)
    return status


async def _count_all(questions: Iterable[str]) -> None:
    """Count the requests in the lines of `questions`. The first line holds the setups. Answer each with a line."""
    questions = iter(questions)
    callgrind = _Callgrind()
    drivers = {name: Driver(Setup(**setup)) for name, setup in json.loads(next(questions)).items()}
    for driver in drivers.values():
        await driver.start()
    # When a garbage collection happens depends on earlier requests, and it costs as much as several requests.
    gc.disable()
    callgrind.start()
    for _ in range(2):  # the first count includes work that is done only once
        gc.collect()
        callgrind.zero()
        await _nothing()
    callgrind.dump()
    gc.freeze()  # permanent objects need not be traversed for each request
    print("ready", flush=True)
    for question in questions:
        setup, warm, *texts = json.loads(question)
        data, response, introduction = [text.encode("latin-1") for text in texts]
        if setup == _NO_SETUP:
            print(_count_reference(callgrind), flush=True)
        elif response:
            print(_count_exchange(callgrind, drivers[setup], introduction, data, response), flush=True)
        else:
            print(await _count_head(callgrind, drivers[setup], data, warm=warm), flush=True)


if __name__ == "__main__":
    asyncio.run(_count_all(sys.stdin))

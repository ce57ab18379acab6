"""Counts the instructions that each request costs, with callgrind. The result does not depend on the machine's load.

`count` starts one process under valgrind, which sends all requests through `bench.driver`. The process tells callgrind
when a request begins and ends, so the figures include neither Python's startup nor the preparation. Times would vary
more, and a profile of Python functions would not show the cost of a regular expression.
"""

import asyncio
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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.driver import Driver, Setup

_WARM_UP = 40
"""Requests that are sent before the count, because the interpreter specializes its code during the first calls."""

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


def count(setups: Mapping[str, Setup], requests: Sequence[Request], *, seconds: float = 3600) -> list[Count]:
    """Count each request. Raises subprocess.TimeoutExpired if that takes longer than `seconds`."""
    with tempfile.TemporaryDirectory(prefix="sitelatch-count-") as name:
        folder = Path(name)
        task = {
            "setups": {name: asdict(setup) for name, setup in setups.items()},
            "requests": [
                (
                    request.setup,
                    request.warm,
                    *(text.decode("latin-1") for text in (request.data, request.response, request.introduction)),
                )
                for request in requests
            ],
        }
        (folder / "task.json").write_text(json.dumps(task))
        result = subprocess.run(
            [
                "valgrind",
                "--tool=callgrind",
                "--instr-atstart=no",
                "--combine-dumps=yes",
                f"--callgrind-out-file={folder / 'counts'}",
                sys.executable,
                "-m",
                "bench.instructions",
                str(folder),
            ],
            cwd=Path(__file__).parents[1],
            env=os.environ | {"PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        if result.returncode != 0:
            raise RuntimeError(f"the count failed:\n{result.stderr[-4000:]}")
        codes = json.loads((folder / "codes.json").read_text())
        totals = _totals(folder / "counts")
    empty, *counts = totals[: len(codes) + 1]
    return [Count(total - empty, code) for total, code in zip(counts, codes, strict=True)]


def _totals(path: Path) -> list[int]:
    """Return the instructions of each dump in a file of callgrind."""
    with path.open() as lines:
        return [int(line.split()[1]) for line in lines if line.startswith("summary:")]


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


async def _count_head(callgrind: _Callgrind, driver: Driver, data: bytes, *, warm: bool) -> str:
    """Count a request up to the decision. Return the outcome."""
    if warm:
        for _ in range(3):
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


async def _count_all(folder: Path) -> None:
    task = json.loads((folder / "task.json").read_text())
    callgrind = _Callgrind()
    drivers = {name: Driver(Setup(**setup)) for name, setup in task["setups"].items()}
    for driver in drivers.values():
        await driver.start()
    requests = [
        (drivers[setup], warm, *(text.encode("latin-1") for text in texts)) for setup, warm, *texts in task["requests"]
    ]
    for driver, warm, data, response, _ in requests:
        if warm and not response:
            for _ in range(_WARM_UP):
                await driver.send(data)
    # When a garbage collection happens depends on earlier requests, and it costs as much as several requests.
    gc.disable()
    callgrind.start()
    for _ in range(2):  # the first count includes work that is done only once
        gc.collect()
        callgrind.zero()
        await _nothing()
    callgrind.dump()
    gc.freeze()  # permanent objects need not be traversed for each request
    codes = []
    for driver, warm, data, response, introduction in requests:
        if response:
            codes.append(_count_exchange(callgrind, driver, introduction, data, response))
        else:
            codes.append(await _count_head(callgrind, driver, data, warm=warm))
    for driver in drivers.values():
        await driver.close()
    (folder / "codes.json").write_text(json.dumps(codes))


if __name__ == "__main__":
    asyncio.run(_count_all(Path(sys.argv[1])))

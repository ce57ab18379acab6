"""A server that runs `sitelatch` commands in forked processes, which need not import the modules again.

`python -m tests.acceptance.command_server SOCKET` listens on a Unix socket. A request is one line of JSON with the
arguments, the environment, and the files to use as standard streams. The response has two lines: the process ID when
the command starts, and the exit code when it ends. Commands run concurrently. The server stops when the process that
started it is gone.
"""

import json
import os
import signal
import socketserver
import sys
from typing import NoReturn

from sitelatch.command import cli, main

_STREAMS = (
    ("stdin", os.O_RDONLY),
    ("stdout", os.O_WRONLY | os.O_APPEND),
    ("stderr", os.O_WRONLY | os.O_APPEND),
)


class _Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    max_children = 1000
    request_queue_size = 100

    def __init__(self, address: str) -> None:
        super().__init__(address, _Handler)
        self._parent = os.getppid()

    def service_actions(self) -> None:
        super().service_actions()
        if os.getppid() != self._parent:
            os._exit(0)  # without waiting for commands that still run


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        line = self.rfile.readline()
        if not line:
            return  # a connection that only checks whether the server listens
        request = json.loads(line)
        command = os.fork()
        if command == 0:
            _run(request)
        self.wfile.write(b"%d\n" % command)
        _, status = os.waitpid(command, 0)
        self.wfile.write(b"%d\n" % os.waitstatus_to_exitcode(status))


def _run(request: dict[str, object]) -> NoReturn:
    code: object = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, (name, mode) in enumerate(_STREAMS):
            os.dup2(os.open(str(request[name]), mode), number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - open until the process ends
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - the same
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115 - the same
        os.environ.clear()
        os.environ.update(request["environ"])  # type: ignore[call-overload]
        main(request["words"])  # type: ignore[arg-type]
    except SystemExit as end:
        code = end.code
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        # Not sys.exit(), which would return to the server's loop.
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    # On Ctrl-C, pytest stops its commands, and then this server.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    list(cli.commands.values())  # imports their modules
    with _Server(sys.argv[1]) as server:
        server.serve_forever()

"""What each signal does, and the handling of signals until the command has been imported.

Importing takes a good part of a second. In a container, where `serve` is the first process of a PID namespace, the
kernel ignores a SIGTERM that is not handled. So this module imports only what handling needs, not even `typing`.
"""

import os
import signal
from collections.abc import Sequence
from types import FrameType

STOP = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGQUIT", "SIGPWR") if hasattr(signal, name))
"""Signals that stop the service gracefully. Containers of nginx images get SIGQUIT, and LXC containers get SIGPWR."""

RELOAD = signal.SIGHUP

IGNORED = (signal.SIGPIPE, signal.SIGTTIN, signal.SIGTTOU, signal.SIGXFSZ)
"""Signals that the kernel sends for a read or a write. Handling SIGTTOU would repeat the write and the signal."""

_HARMLESS = (signal.SIGCHLD, signal.SIGCONT, signal.SIGTSTP, signal.SIGURG, signal.SIGWINCH)
"""Signals whose default action does not end the process."""

_NOT_HANDLED = (signal.SIGKILL, signal.SIGSTOP)

_DEFECTS = (
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSEGV,
    signal.SIGSYS,
    signal.SIGTRAP,
)
"""Signals after which a process cannot continue."""

LOGGED = tuple(
    number
    for number in sorted(signal.valid_signals())
    if number not in (*STOP, RELOAD, *IGNORED, *_HARMLESS, *_NOT_HANDLED, *_DEFECTS)
)
"""Signals without a meaning for Sitelatch. By default, they would end the process: SIGUSR1, SIGALRM and others."""

_OPTION_VALUES = ("text", "json")
"""The values that an option before the name of the command can have: those of --log-format."""


def handle_early_signals(arguments: Sequence[str]) -> None:
    """Handle signals until the command does.

    A service that has not started yet exits with 0, as after a graceful stop. The signal terminates other commands.
    """
    command = next((word for word in arguments if not word.startswith("-") and word not in _OPTION_VALUES), "")
    if command in ("serve", "run"):
        for number in STOP:
            signal.signal(number, _exit)
        for number in (RELOAD, *LOGGED) if command == "serve" else LOGGED:
            signal.signal(number, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, _end)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # this handler would print a traceback
            signal.signal(signal.SIGINT, _end)


def interrupt_with_exception() -> None:
    """Let SIGINT raise KeyboardInterrupt again, unless it stops a service."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)


def _end(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # the first process of a PID namespace survives the signal

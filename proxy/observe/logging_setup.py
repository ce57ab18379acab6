"""Sets up logging: JSON lines for programs, or text for a person at a terminal, with secrets masked."""

import logging
import sys
import threading
from collections.abc import Callable, MutableMapping
from typing import Any, Final

import structlog

from proxy.observe.known_secrets import KnownSecrets
from proxy.observe.redaction import mask

_RED, _YELLOW, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[0m"
_COLORS: Final = {"critical": _RED, "error": _RED, "warning": _YELLOW}
_GENERIC_EVENTS: Final = frozenset({"bad_config", "failed", "refused"})
"""Events for which a person needs to read only the reason."""


def _mask_line(_: object, __: str, line: object) -> str:
    return mask(str(line))


class TextRenderer:
    """Renders an event as text for a person. Control characters are escaped, because a terminal would obey them."""

    def __init__(self, *, color: bool) -> None:
        self._color = color

    def __call__(self, _: object, __: str, event: MutableMapping[str, Any]) -> str:
        level, name = str(event.pop("level", "info")), str(event.pop("event"))
        exception = event.pop("exception", None)
        for noise in ("time", "logger"):
            event.pop(noise, None)
        reason = event.pop("reason", None) or event.pop("complaint", None)
        parts = [] if name in _GENERIC_EVENTS and reason else [name.replace("_", " ")]
        details = ", ".join(f"{key}={value}" for key, value in event.items())
        text = ": ".join([*parts, *([str(reason)] if reason else [])]) + (f" ({details})" if details else "")
        start, end = (_COLORS.get(level, ""), _PLAIN) if self._color and level in _COLORS else ("", "")
        line = f"{start}{level}:{end} {_printable(text)}"
        return line if exception is None else f"{line}\n" + "\n".join(map(_printable, str(exception).splitlines()))


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def configure_logging(
    handler: logging.Handler,
    *,
    renderer: Callable[[Any, str, MutableMapping[str, Any]], str | bytes] | None = None,
    level: int = logging.INFO,
    secrets: KnownSecrets | None = None,
) -> None:
    """Write every log line of the process, including those of libraries and warnings, to `handler`.

    The default renderer writes JSON. `secrets` are masked, including any that are added later.
    """
    secrets = secrets or KnownSecrets()
    shared: list[Callable[[Any, str, MutableMapping[str, Any]], Any]] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.StackInfoRenderer(),
        # Plain tracebacks: structlog's rich ones print local variables, which can hold keys.
        structlog.processors.format_exc_info,
    ]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                secrets.mask_event,
                renderer or structlog.processors.JSONRenderer(),
                _mask_line,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def log_uncaught_errors() -> None:
    """Log the errors that Python would print as plain text: those of threads, and those that nothing can catch."""
    log = structlog.get_logger("sitelatch")

    def in_thread(error: threading.ExceptHookArgs) -> None:
        if error.exc_type is not SystemExit:
            log.error("thread_failed", exc_info=error.exc_value)

    def in_destructor(error: "sys.UnraisableHookArgs") -> None:
        log.error("error_ignored", exc_info=error.exc_value)

    threading.excepthook = in_thread
    sys.unraisablehook = in_destructor

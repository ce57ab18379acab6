"""Sets up logging. Every log line of the process is a JSON object, with secrets masked."""

import logging
import sys
import threading
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

from proxy.observe.redaction import mask


def _mask_line(_: object, __: str, line: object) -> str:
    return mask(str(line))


def configure_logging(handler: logging.Handler, *, level: int = logging.INFO) -> None:
    """Write every log line of the process, including those of libraries and warnings, to `handler` as JSON."""
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
                structlog.processors.JSONRenderer(),
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

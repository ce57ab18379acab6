"""The `sitelatch` command. Results go to stdout; logs and errors go to stderr, as JSON lines or as text.

Exit codes: 0 for success, 1 for failure, 2 for bad usage or a bad config.
"""

import io
import os
import sys
from collections import UserDict
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Final, NoReturn, TextIO

import asyncpg
import click
import structlog

from admin.problems import Problem
from proxy.observe.background_writer import BackgroundHandler, BackgroundWriter
from proxy.observe.known_secrets import KnownSecrets
from proxy.observe.logging_setup import configure_logging, log_uncaught_errors
from sitelatch.commands.options import LOG_FORMATS, Process, use_log_format
from sitelatch.config_source import ConfigError
from sitelatch.early_signals import interrupt_with_exception
from sitelatch.failures import CannotServe, HealthcheckFailed, OutputClosed
from sql.connect import CannotConnect
from sql.dsn.syntax import BadDatabaseUrl
from sql.embedded.server import EmbeddedServerFailed, ServerBinariesMissing
from sql.migrate import WrongSchemaVersion

FAILED = 1
BAD_USAGE = 2

_READ_ONLY = (
    "the database does not accept writes. The DSN must lead to the primary: after a failover, wait until its address "
    "does; if the DSN lists several hosts, set target_session_attrs=read-write"
)

_SUBCOMMANDS: Final = {
    "init": ("init", "init_command"),
    "serve": ("service", "serve_command"),
    "migrate": ("service", "migrate_command"),
    "check-config": ("service", "check_config_command"),
    "run": ("service", "run_command"),
    "users": ("user_changes", "users_group"),
    "sites": ("sites", "sites_group"),
    "import": ("key_import", "import_command"),
    "workspaces": ("workspaces", "workspaces_group"),
    "usage": ("usage", "usage_command"),
    "audit": ("audit", "audit_command"),
    "explain": ("explain", "explain_command"),
    "doctor": ("doctor", "doctor_command"),
    "healthcheck": ("healthcheck", "healthcheck_command"),
    "tokens": ("tokens", "tokens_group"),
}
"""The module in `sitelatch.commands` and the name of each subcommand."""

_log = structlog.get_logger("sitelatch")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command and exit."""
    interrupt_with_exception()
    _open_standard_streams()
    sys.stdout = _buffered(sys.stdout)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # in the locale de_DE, for example, there is no ellipsis
    log = BackgroundWriter(sys.stderr.fileno())
    # This stream carries the log, and also what Python and libraries print.
    sys.stderr = io.TextIOWrapper(log, encoding="utf-8", errors="backslashreplace", write_through=True)
    secrets = KnownSecrets()
    configure_logging(BackgroundHandler(log), secrets=secrets)
    log_uncaught_errors()
    code = _exit_code(arguments, Process(log, secrets))
    log.finish()
    sys.exit(code)


def _open_standard_streams() -> None:
    """Replace standard streams that were closed before the start (`>&-`), so that no other file gets their descriptors.

    libuv aborts the process if it has to close file descriptor 0, 1 or 2. A replaced standard input is empty. Writing
    results to a replaced standard output fails, as on a full disk. Logs to a replaced standard error are discarded.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # open() returns the lowest free number, which is this one
            os.set_inheritable(number, True)
    # Python sets a stream to None if it was closed.
    sys.stdin = sys.stdin or open(0, encoding="utf-8")  # noqa: SIM115 - open until the process ends
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8")  # noqa: SIM115 - open until the process ends
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8")  # noqa: SIM115 - open until the process ends


def _buffered(stream: TextIO) -> TextIO:
    """Return the stream with a buffer in front of it, if it has none.

    Many containers set PYTHONUNBUFFERED. Python's unbuffered streams lose the rest of a write that a signal interrupts.
    """
    raw = getattr(stream, "buffer", None)
    if not isinstance(raw, io.RawIOBase):
        return stream
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors, line_buffering=True)


def _exit_code(arguments: list[str] | None, process: Process) -> int:
    """Run the command and return its exit code. All errors are turned into log lines and exit codes here."""
    try:
        code = cli.main(arguments, prog_name="sitelatch", standalone_mode=False, obj=process)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return FAILED
    except ConfigError as error:
        for complaint in error.complaints:
            _log.error("bad_config", complaint=complaint)
        return BAD_USAGE
    except Problem as problem:
        _log.error("refused", reason=str(problem))
        return FAILED
    except HealthcheckFailed as error:
        _log.error("unhealthy", reason=str(error))
        return FAILED
    except (CannotServe, EmbeddedServerFailed, ServerBinariesMissing, WrongSchemaVersion) as error:
        _log.error("failed", reason=str(error))
        return FAILED
    except BadDatabaseUrl as error:
        _log.error("failed", reason=f"the database's DSN: {error}")
        return FAILED
    except CannotConnect as error:
        _log.error("database_unreachable", reason=str(error))
        return FAILED
    except asyncpg.ReadOnlySQLTransactionError:
        _log.error("database_read_only", reason=_READ_ONLY)
        return FAILED
    except asyncpg.PostgresError as error:
        _log.error("database_failed", reason=error.args[0] if error.args else type(error).__name__)
        return FAILED
    except OutputClosed:
        _flush_error()
        return 0
    except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        if (flush_error := _flush_error()) is not None:
            _log.error("failed", reason=f"standard output: {flush_error.strerror}")
        elif isinstance(error, OSError) and error.filename is not None:
            _log.error("failed", reason=f"{error.filename}: {error.strerror}")
        else:
            # Log only the kind of error, because the message may quote values.
            is_local = isinstance(error, OSError) and not isinstance(error, (ConnectionError, TimeoutError))
            reason = getattr(error, "strerror", None) or type(error).__name__
            _log.error("failed" if is_local else "database_unreachable", reason=reason)
        return FAILED
    except Exception:
        _log.critical("internal_error", exc_info=True)
        return FAILED
    return code if isinstance(code, int) else 0


def _flush_error() -> OSError | None:
    """Flush standard output. If that fails, discard the remaining output and return the error."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # Otherwise Python flushes again when it exits, fails again, and exits with code 120.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error
    return None


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        try:
            click.echo(f"sitelatch {version('sitelatch')}")
        except PackageNotFoundError:
            click.echo("sitelatch (not installed; run from source)")
        context.exit()


class Subcommands(UserDict[str, click.Command]):
    """The subcommands. The module of each is imported only when it is used, because importing all takes long."""

    def __missing__(self, name: str) -> click.Command:
        module, attribute = _SUBCOMMANDS[name]
        command: click.Command = getattr(import_module(f"sitelatch.commands.{module}"), attribute)
        return command

    def __contains__(self, name: object) -> bool:
        return name in _SUBCOMMANDS

    def __iter__(self) -> Iterator[str]:
        return iter(_SUBCOMMANDS)

    def __len__(self) -> int:
        return len(_SUBCOMMANDS)


@click.group(commands=Subcommands(), context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.option("--log-format", type=LOG_FORMATS, help="Format of messages; see the help of each command.")
@click.pass_context
def cli(context: click.Context, log_format: str | None) -> None:
    """Enforce API keys, scoped to sites, in front of your data API."""
    use_log_format(context, log_format)

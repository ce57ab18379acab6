"""The command: what can be done from a shell. Results go to stdout, logs and errors as JSON lines to stderr.

Exit codes: 0 done, 1 failed, 2 bad usage or config.
"""

import io
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn, TextIO

import asyncpg
import click
import structlog

from admin.problems import Problem
from proxy.observe.access_log import configure_logging
from sitelatch.commands.audit import audit_command
from sitelatch.commands.explain import explain_command
from sitelatch.commands.service import check_config_command, migrate_command, run_command, serve_command
from sitelatch.commands.sites import sites_group
from sitelatch.commands.tokens import tokens_group
from sitelatch.commands.users import users_group
from sitelatch.config_errors import ConfigError
from sitelatch.serve import CannotServe
from sql.embedded.server import EmbeddedServerFailed, ServerBinariesMissing
from sql.migrate import WrongSchemaVersion
from sql.pool import BadDatabaseUrl

FAILED = 1
BAD_USAGE = 2

_log = structlog.get_logger("sitelatch")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command and exit."""
    _open_standard_streams()
    sys.stdout, sys.stderr = _whole(sys.stdout), _whole(sys.stderr)
    configure_logging(sys.stderr)
    sys.exit(_exit_code(arguments))


def _open_standard_streams() -> None:
    """Stand in for those that were closed from the start (`>&-`), or what is opened next gets their numbers.

    libuv aborts the process rather than close one of those. There is then
    nothing to read; results are as if the disk were full; logs are let go.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest number that is free, which is this one
            os.set_inheritable(number, True)
    # Python has none where there was none.
    sys.stdin = sys.stdin or open(0, encoding="utf-8")  # noqa: SIM115 - to the end
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8")  # noqa: SIM115 - to the end
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8")  # noqa: SIM115 - to the end


def _whole(stream: TextIO) -> TextIO:
    """Return a stream that writes all that it is given.

    Unbuffered, as PYTHONUNBUFFERED in many containers has it, Python drops what a signal in mid-write leaves over.
    """
    raw = getattr(stream, "buffer", None)
    if not isinstance(raw, io.RawIOBase):
        return stream
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors, line_buffering=True)


def _exit_code(arguments: list[str] | None) -> int:
    """Run the command; this is the one place where its errors become words and a number."""
    try:
        code = cli.main(arguments, prog_name="sitelatch", standalone_mode=False)
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
    except (CannotServe, EmbeddedServerFailed, ServerBinariesMissing, WrongSchemaVersion, BadDatabaseUrl) as error:
        _log.error("failed", reason=str(error))
        return FAILED
    except asyncpg.PostgresError as error:
        _log.error("database_failed", reason=error.args[0] if error.args else type(error).__name__)
        return FAILED
    except (OSError, asyncpg.InterfaceError) as error:
        if (unwritten := _unwritten()) is not None:
            _log.error("failed", reason=f"standard output: {unwritten.strerror}")
        elif isinstance(error, OSError) and error.filename is not None:
            _log.error("failed", reason=f"{error.filename}: {error.strerror}")
        else:
            # The kind only: what a connection's error says may quote its URL.
            _log.error("database_unreachable", reason=getattr(error, "strerror", None) or type(error).__name__)
        return FAILED
    except Exception:
        _log.critical("fault", exc_info=True)
        return FAILED
    return code if isinstance(code, int) else 0


def _unwritten() -> OSError | None:
    """Return why results could not be written, if any are left, and let go of those."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python itself would try again at its end, and make that exit code 120.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error
    return None


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        try:
            click.echo(f"sitelatch {version('sitelatch')}")
        except PackageNotFoundError:
            click.echo("sitelatch, run from its source without being installed")
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="The version.")
def cli() -> None:
    """API keys, scoped to sites, enforced in front of a data API that you already run."""


for verb in (
    serve_command,
    migrate_command,
    check_config_command,
    run_command,
    users_group,
    sites_group,
    audit_command,
    explain_command,
    tokens_group,
):
    cli.add_command(verb)

"""Questions at a terminal, so that no command revokes access or creates something by mistake."""

import os
import sys
from typing import Final

import click
import structlog

from sitelatch.commands.tables import printable

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_YES: Final = (b"y", b"yes")

_log = structlog.get_logger("sitelatch")

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def can_ask() -> bool:
    """Return whether a person at a terminal sees a question and can answer it."""
    return os.isatty(_STDIN) and (os.isatty(_STDERR) or os.isatty(_STDOUT))


def ask(question: str) -> None:
    """Ask whether to go on. Raises click.Abort unless the answer is yes.

    Call it outside the event loop, so that Ctrl-C ends the command at once.
    """
    to_stderr = os.isatty(_STDERR)
    click.echo(f"{question} [y/N] ", nl=False, err=to_stderr)
    if sys.stdin.buffer.readline().strip().lower() not in _YES:
        click.echo("Nothing was changed.", err=to_stderr)
        raise click.Abort


def say(event: str, *sentences: str) -> None:
    """Print the sentences where a question was shown, or log them as an event if there is no terminal."""
    to_stderr = os.isatty(_STDERR)
    if to_stderr or can_ask():
        for sentence in sentences:
            click.echo(printable(sentence), err=to_stderr)
    else:
        _log.info(event, reason="\n".join(sentences))

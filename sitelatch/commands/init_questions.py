"""The questions of `sitelatch init` at a terminal. After an invalid answer, it shows why and asks again."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from admin.problems import Problem
from admin.text_rules import check_email, check_name
from sitelatch.config_file import parse
from sitelatch.config_source import ConfigError, is_in
from sitelatch.initial_config import Choices, config_text
from sitelatch.toml_scanner import Place

Answers = Mapping[str, Any]
"""The fields of Choices. An empty one has not been answered."""

_STAND_INS: Final[Answers] = {
    "upstream": "http://127.0.0.1:9000",
    "rules": ("query:site",),
    "paths": (),
    "database": "postgresql://sitelatch@127.0.0.1/sitelatch",
    "admin_name": "Admin",
    "admin_email": "admin@example.com",
}
"""Valid answers, so that each answer can be checked before the others are known."""
_NO_TOKEN: Final = 64 * "0"


@dataclass(frozen=True, slots=True)
class Question:
    """A question for a field of Choices, which an option of the command can answer as well."""

    field: str
    option: str
    text: str
    place: Place
    """The place of the answer in the config."""
    explanation: Sequence[str] = ()
    """Lines to show before the question."""
    parse: Callable[[str], Any] = str
    """Raises Problem if the text is invalid by itself."""
    is_needed: Callable[[Answers], bool] = lambda _: True
    may_be_empty: bool = False


def _reads_elsewhere(answers: Answers) -> bool:
    """Return whether a rule finds the site outside the path. Without paths, any key for the site opens every path."""
    return any(rule.startswith(("query:", "header:")) for rule in answers["rules"])


QUESTIONS: Final[Sequence[Question]] = (
    Question(
        "upstream",
        "--upstream",
        "URL of your data API, such as http://127.0.0.1:9000",
        ("proxy", "routes", 0, "upstream"),
    ),
    Question(
        "rules",
        "--site-in",
        "Rules, separated by spaces",
        ("proxy", "routes", 0, "sites"),
        (
            "Where does a request to your data API name its site? Write a rule, such as:",
            "  path:/v1/{site}/**       a segment of the path",
            "  query:site               a parameter of the query",
            "  header:X-Site            a header",
            "  host:{site}.example.com  a part of the host name",
        ),
        str.split,
    ),
    Question(
        "paths",
        "--site-path",
        "Paths, separated by spaces",
        ("proxy", "routes", 0, "sites"),
        (
            "On which paths does your API read the site from there? For example /api/export/**",
            "Press Enter for every path.",
        ),
        str.split,
        _reads_elsewhere,
        may_be_empty=True,
    ),
    Question(
        "database",
        "--database",
        "DSN",
        ("database", "url"),
        (
            "Which database? Give the DSN of your PostgreSQL, postgresql://USER:PASSWORD@HOST/DATABASE,",
            "or embedded:postgres for a trial.",
        ),
    ),
    Question("admin_name", "--admin-name", "Your name", ("admin", "tokens", 0, "name"), parse=check_name),
    Question("admin_email", "--admin-email", "Your email address", ("admin", "tokens", 0, "email"), parse=check_email),
)


def complete(given: Answers) -> Choices:
    """Ask for missing options. Without a terminal, raises UsageError, which names all of them."""
    answers = dict(given)
    if not sys.stdin.isatty():
        missing = [each.option for each in QUESTIONS if not answers[each.field] and not each.may_be_empty]
        if missing:
            raise click.UsageError(f"Give {', '.join(missing)}.")
        return Choices(**answers)
    for question in QUESTIONS:
        if not answers[question.field] and question.is_needed(answers):
            answers[question.field] = _answer(question, answers)
    return Choices(**answers)


def _answer(question: Question, answers: Answers) -> Any:
    for line in question.explanation:
        click.echo(line, err=True)

    def checked(text: str) -> Any:
        try:
            answer = question.parse(text.strip())
        except Problem as problem:
            raise click.UsageError(str(problem)) from None
        if wrong := _mistakes(question, {**answers, question.field: answer}):
            raise click.UsageError(wrong)  # click shows it and asks again
        return answer

    default = "" if question.may_be_empty else None
    return click.prompt(question.text, default=default, show_default=False, value_proc=checked, err=True)


def _mistakes(question: Question, answers: Answers) -> str:
    """Return the mistakes in the answer to one question, or an empty text."""
    known = {field: answer for field, answer in answers.items() if answer}
    text = config_text(Choices(**{**_STAND_INS, **known}), _NO_TOKEN)
    try:
        parse(text, Path("sitelatch.toml").absolute(), {})
    except ConfigError as error:
        return "\n".join(fault.message for fault in error.faults if is_in(fault.place, question.place))
    return ""

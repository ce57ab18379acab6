"""The conditions of a list of API users, as parts of queries: filters, and the words of a search."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from admin.text_rules import has_words
from proxy.decision.api_keys import PREFIX, hint
from proxy.decision.site_ids import fold_site
from sql.queries import query

MAX_TERMS: Final = 8
"""The number of words of a search that may be found in different places. The last one includes all further words."""


class Parameters:
    """The parameters of a query."""

    def __init__(self, *values: object) -> None:
        self.values = [*values]

    def add(self, value: object) -> str:
        """Add a parameter, and return its placeholder."""
        self.values.append(value)
        return f"${len(self.values)}"


class Condition(Protocol):
    """A condition that the users of a list must meet."""

    def passes(self, parameters: Parameters, related: str | None) -> str:
        """Return the SQL expression for whether the user `u` meets the condition. It is never null.

        `related` is the query for the users that `related` finds, if there are few.
        """

    def named(self, parameters: Parameters, columns: str, limits: str) -> str | None:
        """Return the query for `columns` of the users that meet it because of their own row, if an index finds them.

        `limits` are further conditions for the user `u`.
        """

    def related(self, parameters: Parameters, workspaces: str) -> Sequence[str]:
        """Return queries for all other users that meet it. `workspaces` is the placeholder of the workspaces."""


@dataclass(frozen=True, slots=True)
class Term:
    """Words that must be the beginnings of words in one place: in the names of the user and the person who authorized
    it, in the hint of a key, or in a site."""

    texts: list[str]
    """As entered, and folded like the ids of sites."""

    few: ClassVar = (5_000, 30_000)
    """The number of users that the queries of `related` can find quickly."""

    def passes(self, parameters: Parameters, related: str | None) -> str:
        """Return the expression for one user."""
        words = _words(parameters.add(self.texts))
        if related is None:
            return _PASSES_TERM.format(query=words)
        return _PASSES_RARE_TERM.format(query=words, related=related)

    def named(self, parameters: Parameters, columns: str, limits: str) -> str | None:
        """Return the query for users with a matching name."""
        return _BY_WORDS.format(query=_words(parameters.add(self.texts)), columns=columns, limits=limits)

    def related(self, parameters: Parameters, workspaces: str) -> Sequence[str]:
        """Return the queries for users with a matching key or site."""
        words = _words(parameters.add(self.texts))
        return _BY_KEYS.format(query=words), _BY_SITES.format(query=words, site_limits=within("s", workspaces))


@dataclass(frozen=True, slots=True)
class Person:
    """Words that must be the beginnings of words in the name and email address of the person who authorized a user."""

    text: str

    def passes(self, parameters: Parameters, related: str | None) -> str:
        """Return the expression for one user."""
        return _PASSES_PERSON.format(query=_words(parameters.add([self.text])))

    def named(self, parameters: Parameters, columns: str, limits: str) -> str | None:
        """Return the query for a superset: the words may also be in the name of the user."""
        return _BY_WORDS.format(query=_words(parameters.add([self.text])), columns=columns, limits=limits)

    def related(self, parameters: Parameters, workspaces: str) -> Sequence[str]:
        """Return nothing, because `named` returns them all."""
        return ()


@dataclass(frozen=True, slots=True)
class Email:
    """The email address of the person who authorized a user, in lowercase."""

    email: str

    def passes(self, parameters: Parameters, related: str | None) -> str:
        """Return the expression for one user."""
        return f"lower(u.authorized_by_email) = {parameters.add(self.email)}"

    def named(self, parameters: Parameters, columns: str, limits: str) -> str | None:
        """Return the query for all of them."""
        return _BY_EMAIL.format(email=parameters.add(self.email), columns=columns, limits=limits)

    def related(self, parameters: Parameters, workspaces: str) -> Sequence[str]:
        """Return nothing, because `named` returns them all."""
        return ()


@dataclass(frozen=True, slots=True)
class Created:
    """Users that were created more than some days ago."""

    days: int

    def passes(self, parameters: Parameters, related: str | None) -> str:
        """Return the expression for one user."""
        return f"u.created_at < {_days_ago(parameters.add(self.days))}"

    def named(self, parameters: Parameters, columns: str, limits: str) -> str | None:
        """Return the query for all of them."""
        return _BY_CREATION.format(cutoff=_days_ago(parameters.add(self.days)), columns=columns, limits=limits)

    def related(self, parameters: Parameters, workspaces: str) -> Sequence[str]:
        """Return nothing, because `named` returns them all."""
        return ()


@dataclass(frozen=True, slots=True)
class Expiry:
    """Users that expire within some days, or have expired already."""

    within_days: int | None
    """None: they have expired."""

    def passes(self, parameters: Parameters, related: str | None) -> str:
        """Return the expression for one user."""
        first, last = self._limits(parameters)
        return f"(u.expires_at > {first} AND u.expires_at <= {last}) IS TRUE"

    def named(self, parameters: Parameters, columns: str, limits: str) -> str | None:
        """Return the query for all of them."""
        first, last = self._limits(parameters)
        return _BY_EXPIRY.format(first=first, last=last, columns=columns, limits=limits)

    def related(self, parameters: Parameters, workspaces: str) -> Sequence[str]:
        """Return nothing, because `named` returns them all."""
        return ()

    def _limits(self, parameters: Parameters) -> tuple[str, str]:
        if self.within_days is None:
            return "'-infinity'::timestamptz", "now()"
        return "now()", f"(now() + make_interval(days => {parameters.add(self.within_days)}::int))"


@dataclass(frozen=True, slots=True)
class LastUse:
    """Users that were never used, or neither created nor used in some days, or both."""

    never_used: bool
    unused_days: int | None

    def filters(self, parameters: Parameters) -> dict[str, str]:
        """Return the parts of queries that apply the condition to a user (`old`), and to the activity of users that
        were used (`used`) or never used."""
        used = " AND false" if self.never_used else ""
        if self.unused_days is None:
            return {"old": "", "used": used, "never_used": ""}
        cutoff = _days_ago(parameters.add(self.unused_days))
        return {
            "old": f" AND u.created_at < {cutoff}",
            "used": used or f" {_USED_LONG_AGO.format(cutoff=cutoff)}",
            "never_used": f" AND a.created_at < {cutoff}",
        }

    def passes(self, parameters: Parameters, related: str | None) -> str:
        """Return the expression for one user."""
        return _PASSES_LAST_USE.format(by_last_use=_BY_LAST_USE.format(**self.filters(parameters)))

    def named(self, parameters: Parameters, columns: str, limits: str) -> str | None:
        """Return None, because the activity is in a table of its own."""
        return None

    def related(self, parameters: Parameters, workspaces: str) -> Sequence[str]:
        """Return the queries for all of them."""
        filters = {**self.filters(parameters), "activity_limits": within("a", workspaces)}
        never_used = _NEVER_USED.format(**filters)
        return (never_used,) if self.never_used else (never_used, _USED.format(**filters))


_PASSES_TERM = query("passes_term")
_PASSES_RARE_TERM = query("passes_rare_term")
_PASSES_PERSON = query("passes_person")
_PASSES_LAST_USE = query("passes_last_use")
_BY_LAST_USE = query("by_last_use")
_USED_LONG_AGO = query("used_long_ago")
_BY_WORDS = query("users_by_words")
_BY_EMAIL = query("users_by_email")
_BY_CREATION = query("users_by_creation")
_BY_EXPIRY = query("users_by_expiry")
_BY_KEYS = query("users_by_keys")
_BY_SITES = query("users_by_sites")
_NEVER_USED = query("users_never_used")
_USED = query("users_used_long_ago")


def _words(texts: str) -> str:
    return f"sitelatch.word_beginnings({texts}::text[])"


def _days_ago(days: str) -> str:
    return f"(now() - make_interval(days => {days}::int))"


def within(table: str, workspaces: str) -> str:
    """Return the limit of a table to workspaces."""
    limit = f"{table}.workspace_id = ANY({workspaces}::text[]::bigint[])"
    return f" AND ({workspaces}::text[] IS NULL OR {limit})"


def search_terms(search: str | None) -> list[Term]:
    """Return the conditions of a search: one for each of its words, separated by spaces."""
    words = [without_secret(word) for word in without_secret(search or "").split()]
    words = list(dict.fromkeys(word for word in words if has_words(word)))
    if len(words) > MAX_TERMS:
        words[MAX_TERMS - 1 :] = [" ".join(words[MAX_TERMS - 1 :])]
    return [Term([word, fold_site(word)]) for word in words]


def without_secret(word: str) -> str:
    """Return a word of a search without the prefix that all hints share, and without text that no hint contains.

    The database may log the parameters of queries, so no query gets a whole key.
    """
    shown = hint(PREFIX + "x" * 38).partition("…")[0]
    if word.startswith(PREFIX) and not word[len(shown) :].startswith(("…", "...")):
        word = word[: len(shown)]
    return word.removeprefix(PREFIX)

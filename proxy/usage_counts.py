"""The usage of each API user since it was last taken: requests that passed or were refused, and bytes. No I/O."""

from collections.abc import Mapping

PASSED = "passed"
"""The outcome of a request that passed. The other outcomes are the codes of refusals."""


class UserUsage:
    """The usage of one API user."""

    __slots__ = ("bytes_out", "passed", "refused")

    def __init__(self) -> None:
        self.passed = 0
        self.bytes_out = 0
        """The bytes of the bodies of responses to requests that passed, as in the access log."""
        self.refused: dict[str, int] | None = None
        """How many requests were refused, by code. Most users have none."""

    def refuse(self, code: str, count: int = 1) -> None:
        """Count requests that were refused."""
        if self.refused is None:
            self.refused = {}
        self.refused[code] = self.refused.get(code, 0) + count

    def add(self, other: "UserUsage") -> None:
        """Add other usage of the same user."""
        self.passed += other.passed
        self.bytes_out += other.bytes_out
        for code, count in (other.refused or {}).items():
            self.refuse(code, count)

    def counts(self) -> list[tuple[str, int, int]]:
        """Return each outcome with its requests and bytes."""
        counts = [(code, count, 0) for code, count in (self.refused or {}).items()]
        if self.passed or self.bytes_out:
            counts.append((PASSED, self.passed, self.bytes_out))
        return counts


class Users(dict[str, UserUsage]):
    """The usage of API users, by id. A user that is not there yet is added when it is first used."""

    def __missing__(self, user_id: str) -> UserUsage:
        usage = self[user_id] = UserUsage()
        return usage


class UsageCounts:
    """Counts the usage of API users. Rotated keys and refreshed grants share the counts of their user.

    To count is to add to `users[user_id]`, which is cheap enough for every request.
    """

    __slots__ = ("users",)

    def __init__(self) -> None:
        self.users = Users()

    def take(self) -> Mapping[str, UserUsage]:
        """Return what was counted, and begin again at zero."""
        users, self.users = self.users, Users()
        return users

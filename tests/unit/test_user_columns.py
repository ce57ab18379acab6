"""How the command describes API users."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from admin.api.response_models import KeyView, PersonView, User
from admin.api.sites import Removal
from sitelatch.commands.user_columns import ago, deletion_notice, removal_notices

NOW = datetime(2026, 5, 6, 12, tzinfo=UTC)


def api_user(name: str | None = None, **fields: Any) -> User:
    key = KeyView(
        hint="slk_aaaa…bbbb",
        created_at=NOW,
        expires_at=None,
        seconds_left=None,
        last_activity=None,
        recoverable=False,
    )
    conditions = {"disabled": False, "expires_at": None, "methods": None, "networks": None, "version": 1}
    conditions |= {"requests_per_second": None, "burst": None, "requests_per_day": None}
    scope = {"all_sites": False, "sites": [], "site_count": 0, "keys": [key], "last_activity": None}
    return User(
        **{"id": "x", "name": name, "workspace": "acme", "created_at": NOW, "disabled_at": None, **conditions, **scope}
        | fields,
        authorized_by=PersonView(name="Ada", email="ada@example.com"),
    )


def removal(site: str, users: list[User], count: int, all_sites_count: int) -> Removal:
    return Removal(site, "acme", count, users, all_sites_count)


@pytest.mark.parametrize(
    ("past", "shown"),
    [
        (timedelta(seconds=-30), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=59), "59 min ago"),
        (timedelta(hours=23, minutes=59), "23 h ago"),
        (timedelta(days=99, hours=23), "99 d ago"),
        (timedelta(days=100), "2026-01-26"),
    ],
)
def test_an_activity_is_described_by_how_long_ago_it_was(past: timedelta, shown: str) -> None:
    assert ago(NOW - past, NOW) == shown


def test_a_missing_activity_is_described_as_never() -> None:
    assert ago(None, NOW) == "never"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 'loses access to 0 sites of the workspace "acme". It was never used.'),
        ({"sites": ["shop"], "site_count": 1}, 'loses access to 1 site of the workspace "acme": shop. It'),
        ({"sites": [f"s{n}" for n in range(12)], "site_count": 12}, "s8, s9 and 2 more. It was never used."),
        ({"all_sites": True}, 'loses access to all sites of the workspace "acme". It'),
        ({"last_activity": NOW - timedelta(hours=5)}, "It was last used 5 h ago."),
    ],
)
def test_a_deletion_says_who_loses_access_to_what(fields: dict[str, Any], expected: str) -> None:
    notice = deletion_notice(api_user("Export", **fields), NOW)
    assert notice.startswith("Export (slk_aaaa…bbbb), authorized by Ada <ada@example.com>, loses access to ")
    assert expected in notice


@pytest.mark.parametrize(
    ("count", "all_sites_count", "expected"),
    [
        (0, 0, ['No API user of the workspace "acme" loses access to the site "shop".']),
        (0, 2, ['2 API users for all sites of the workspace "acme" lose access to the site "shop".']),
        (1, 0, ['1 API user loses access to the site "shop": Export (slk_aaaa…bbbb).']),
        (3, 0, ['3 API users lose access to the site "shop": Export (slk_aaaa…bbbb) and 2 more.']),
    ],
)
def test_a_removal_says_which_api_users_lose_access(count: int, all_sites_count: int, expected: list[str]) -> None:
    users = [api_user("Export")] if count else []
    assert removal_notices([removal("shop", users, count, all_sites_count)]) == expected


def test_a_removal_of_many_sites_describes_the_first_ones() -> None:
    notices = removal_notices([removal(f"site-{number}", [], 0, 0) for number in range(50)])
    assert len(notices) == 21
    assert notices[-1] == "30 more sites will be removed."

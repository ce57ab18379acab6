"""Realistic data for the screenshots: a hundred API users in three workspaces, long names, and an empty workspace."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg

from tests.acceptance.harness import Sitelatch

EMPTY: Final = "hooli"
"""A workspace without sites and API users."""
LONG_NAME: Final = "Quarterly executive reporting for the northern subsidiary and all of its customers (read only)"

_PEOPLE: Final = (
    ("Ada Lovelace", "ada@acme.example"),
    ("Grace Hopper", "grace.hopper@acme.example"),
    ("Kwame Nkrumah-Boateng", "kwame.nkrumah-boateng@globex.example"),
    ("Zoë Björk", "zoe@initech.example"),
    ("Maximiliane Freifrau von und zu Hohenstein", "maximiliane.von-und-zu-hohenstein@subsidiary.globex.example"),
    ("李小龍", "bruce@acme.example"),
)
_NAMES: Final = (
    "Nightly export",
    "Power BI dashboard",
    "Looker Studio connector",
    "Zapier",
    "Finance month-end close",
    "Uptime mirror for the status page",
    "Data warehouse loader",
    "Grafana",
    "Customer portal (staging)",
    "Customer portal",
    "On-call bot",
    "SEO agency",
    "Billing reconciliation",
    None,
    "Mobile app backend",
    "Weekly newsletter statistics",
    LONG_NAME,
    "Partner feed: Contoso",
    None,
    "Capacity planning",
)
_COUNTRIES: Final = ("at", "be", "bg", "ch", "cz", "de", "dk", "ee", "es", "fi", "fr", "gr")
_ACME: Final = (
    ("shop", "Web shop"),
    ("blog", "Blog"),
    ("docs", "Documentation"),
    ("status.acme.example", "Status page"),
    ("careers", "Careers"),
    ("press-and-investor-relations.corporate.acme.example", "Press and investor relations"),
    *(
        (f"shop-{country}", f"Web shop {country.upper()}")
        for country in ["at", "be", "bg", "ch", "cz", "de", "dk", "ee", "es", "fi", "fr", "gr"]
    ),
    *((f"store-{number:03}", f"Store {number}, Main Street") for number in range(1, 61)),
)
_INITECH: Final = (("intranet", "Intranet"), ("tps-reports", "TPS reports"), ("printer", "Printer"))
_GLOBEX_SITES: Final = 2_400


def sites_csv() -> str:
    """Return the CSV file with all sites."""
    globex = ((f"customer-{number:04}", f"Customer {number}") for number in range(1, _GLOBEX_SITES + 1))
    lines = [
        f'{site},{workspace},"{name}"'
        for workspace, sites in (("acme", _ACME), ("globex", globex), ("initech", _INITECH))
        for site, name in sites
    ]
    return "\n".join(["site,workspace,display_name", *lines, ""])


def _users(chosen: random.Random) -> Iterator[dict[str, Any]]:
    """Yield a hundred new API users, oldest first."""
    sites = {
        "acme": [site for site, _ in _ACME],
        "globex": [f"customer-{number:04}" for number in range(1, _GLOBEX_SITES + 1)],
        "initech": [site for site, _ in _INITECH],
    }
    for number in range(100):
        workspace = chosen.choices(("acme", "globex", "initech"), (6, 3, 1))[0]
        name = _NAMES[number % len(_NAMES)]
        body: dict[str, Any] = {"workspace": workspace, **({"name": name} if name else {})}
        count = chosen.choice((0, 1, 1, 2, 3, 5, 12, 60, 400))
        if count:
            body["sites"] = chosen.sample(sites[workspace], min(count, len(sites[workspace])))
        else:
            body["all_sites"] = True
        yield body


def add_data(latch: Sitelatch) -> None:
    """Add the data through the admin API."""
    chosen = random.Random(11)
    with latch.admin_client() as client:
        for workspace in ("acme", "globex", "initech", EMPTY):
            client.post("/workspaces", json={"name": workspace}).raise_for_status()
        client.post("/sites", json={"csv": sites_csv()}).raise_for_status()
        for body in _users(chosen):
            client.post("/users", json=body).raise_for_status()


async def spread_over_time(dsn: str) -> None:
    """Give the API users and audit entries different times and people, which only SQL can set."""
    chosen = random.Random(12)
    connection = await asyncpg.connect(dsn)
    now = datetime.now(UTC)
    users = await connection.fetch("SELECT id FROM sitelatch.api_users ORDER BY created_at")
    for number, user in enumerate(users):
        created = now - timedelta(days=7 * (len(users) - number), hours=chosen.randrange(100))
        name, email = chosen.choice(_PEOPLE)
        used = None if number % 6 == 5 else now - (now - created) * chosen.random() ** 6
        await connection.execute(
            "UPDATE sitelatch.api_users SET created_at = $2, authorized_by_name = $3, authorized_by_email = $4"
            " WHERE id = $1",
            user["id"],
            created,
            name,
            email,
        )
        await connection.execute(
            "UPDATE sitelatch.api_user_activity SET last_used_at = $2 WHERE user_id = $1", user["id"], used
        )
        await connection.execute(
            "UPDATE sitelatch.audit_log SET at = $2, actor_name = $3, actor_email = $4 WHERE subject = $1::text",
            str(user["id"]),
            created,
            name,
            email,
        )
    await connection.execute("UPDATE sitelatch.api_users SET disabled_at = now() WHERE id = $1", users[-4]["id"])
    await connection.execute(
        "UPDATE sitelatch.api_keys SET expires_at = now() - interval '2 days' WHERE user_id = $1", users[-7]["id"]
    )
    await connection.close()

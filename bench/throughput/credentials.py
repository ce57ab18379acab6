"""The API users of the benchmark: one workspace, many sites, and one site for each key."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

import asyncpg

from proxy.decision.api_keys import digest, hint, new_key
from sql.migrate import migrate
from sql.pool import open_connection

_SITES = 500


@dataclass(frozen=True)
class Credential:
    """An API key and the site that it may access."""

    key: str
    site: str


def new_credentials(count: int) -> list[Credential]:
    """Return new keys, spread evenly over the sites."""
    return [Credential(new_key(), f"site-{number % _SITES}") for number in range(count)]


async def insert(dsn: str, credentials: Sequence[Credential]) -> None:
    """Create the schema, and an API user for each key."""
    connection: asyncpg.Connection = await open_connection(dsn, role="bench")
    await migrate(connection)
    async with connection.transaction():
        workspace = await connection.fetchval("INSERT INTO sitelatch.workspaces (name) VALUES ('acme') RETURNING id")
        users = [uuid4() for _ in credentials]
        sites = sorted({credential.site for credential in credentials})
        named = [(site, site, site, workspace, site) for site in sites]
        people = [(user, workspace, f"Program {n}", False, "Ada", "ada@example.com") for n, user in enumerate(users)]
        keys = [(digest(one.key.encode()), user, hint(one.key)) for one, user in zip(credentials, users, strict=True)]
        scopes = [(user, one.site, workspace) for one, user in zip(credentials, users, strict=True)]
        for table, columns, records in (
            ("sites", "id folded collated workspace_id display_name", named),
            ("api_users", "id workspace_id name all_sites authorized_by_name authorized_by_email", people),
            ("api_keys", "digest user_id hint", keys),
            ("api_user_sites", "user_id site_id workspace_id", scopes),
        ):
            await connection.copy_records_to_table(
                table, schema_name="sitelatch", columns=columns.split(), records=records, timeout=600
            )
    await connection.execute("VACUUM ANALYZE")
    await connection.close()

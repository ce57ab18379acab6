"""The DSNs that hosting services document, and the options on the page about DSNs."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from sql.dsn.dsn import read_dsn
from sql.dsn.hosts import Host
from sql.dsn.options import FIXED, FOREIGN, HONORED, REPLACED, SERVER_SETTINGS
from sql.dsn.syntax import BadDatabaseUrl

PAGE = (Path(__file__).parents[3] / "docs" / "dsn.md").read_text(encoding="utf-8")


class Hosted(NamedTuple):
    """A documented DSN, and the host and the `sslmode` that it stands for."""

    source: str
    dsn: str
    host: Host
    mode: str = "require"
    ignored: tuple[str, ...] = ()
    refused: str = ""


NEON = "ep-cool-darkness-a1b2c3d4.us-east-2.aws.neon.tech"
NEON_POOLER = NEON.replace(".", "-pooler.", 1)
SUPABASE = "aws-0-eu-central-1.pooler.supabase.com"
RDS = "mydb.123456789012.us-east-1.rds.amazonaws.com"
HEROKU = "ec2-54-225-92-1.compute-1.amazonaws.com"
AZURE = "postgresqltestserver.postgres.database.azure.com"
DIGITALOCEAN = "db-postgresql-nyc3-12345-do-user-1-0.b.db.ondigitalocean.com"
RENDER = "dpg-d12tgqruibrs73fjvd30-a.oregon-postgres.render.com"

DSNS = [
    Hosted(
        "https://neon.com/faqs/where-find-database-connection-string",
        f"postgresql://alex:AbC123dEf@{NEON}/dbname?sslmode=require&channel_binding=require",
        Host(NEON, 5432),
        refused="channel_binding must be prefer or disable",
    ),
    Hosted(
        "https://neon.com/docs/connect/connect-securely",
        f"postgresql://alex:AbC123dEf@{NEON_POOLER}/dbname?sslmode=verify-full",
        Host(NEON_POOLER, 5432),
        "verify-full",
    ),
    Hosted(
        "https://neon.com/docs/guides/prisma",
        f"postgresql://alex:AbC123dEf@{NEON_POOLER}/dbname?sslmode=require&pgbouncer=true&connect_timeout=10"
        "&pool_timeout=10&schema=public",
        Host(NEON_POOLER, 5432),
        ignored=("pgbouncer", "pool_timeout", "schema"),
    ),
    Hosted(
        "https://neon.com/docs/connect/connection-errors (a client without SNI)",
        f"postgresql://alex:AbC123dEf@{NEON}/dbname?sslmode=require&options=endpoint%3Dep-cool-darkness-a1b2c3d4",
        Host(NEON, 5432),
    ),
    Hosted(
        "https://supabase.com/docs/guides/database/connecting-to-postgres (direct)",
        "postgresql://postgres:[YOUR-PASSWORD]@db.apbkobhfnmcqqzqeeqss.supabase.co:5432/postgres",
        Host("db.apbkobhfnmcqqzqeeqss.supabase.co", 5432),
        "prefer",
    ),
    Hosted(
        "https://supabase.com/docs/guides/database/connecting-to-postgres (session pooler)",
        f"postgres://postgres.apbkobhfnmcqqzqeeqss:[YOUR-PASSWORD]@{SUPABASE}:5432/postgres",
        Host(SUPABASE, 5432),
        "prefer",
    ),
    Hosted(
        "https://supabase.com/docs/guides/database/prisma (transaction pooler)",
        f"postgres://postgres.apbkobhfnmcqqzqeeqss:pw@{SUPABASE}:6543/postgres?pgbouncer=true&connection_limit=1",
        Host(SUPABASE, 6543),
        "prefer",
        ignored=("pgbouncer", "connection_limit"),
    ),
    Hosted(
        "https://vercel.com/marketplace/supabase",
        f"postgres://postgres.ref:pw@{SUPABASE}:6543/postgres?sslmode=require&supa=base-pooler.x",
        Host(SUPABASE, 6543),
        ignored=("supa",),
    ),
    Hosted(
        "https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/PostgreSQL.Concepts.General.SSL.html",
        f"host={RDS} port=5432 dbname=testpg user=testuser sslrootcert=/certs/global-bundle.pem sslmode=verify-full",
        Host(RDS, 5432),
        "verify-full",
    ),
    Hosted(
        "https://gist.github.com/glarrain/32c48ec01437f7c22d84586eca10443b (RDS from Heroku)",
        f"postgres://user:password@{RDS}/db_name?sslmode=verify-full&sslrootcert=config/rds-combined-ca-bundle.pem",
        Host(RDS, 5432),
        "verify-full",
    ),
    Hosted(
        "https://github.com/GoogleCloudPlatform/cloud-sql-proxy/issues/1071",
        "sslmode=disable host=/cloudsql/my-project:europe-west4:main user=DB_USER",
        Host("/cloudsql/my-project:europe-west4:main", 5432),
        "disable",
    ),
    Hosted(
        "https://cloud.google.com/sql/docs/postgres/connect-run (SQLAlchemy's form without the driver)",
        "postgresql://user:pw@/db?host=/cloudsql/my-project:europe-west4:main",
        Host("/cloudsql/my-project:europe-west4:main", 5432),
        "prefer",
    ),
    Hosted(
        "https://cloud.google.com/sql/docs/postgres/connect-run (with the driver)",
        "postgresql+psycopg2://user:pw@/db?host=/cloudsql/my-project:europe-west4:main",
        Host("", 0),
        refused='must begin with "postgresql://"',
    ),
    Hosted(
        "https://devcenter.heroku.com/articles/connecting-heroku-postgres",
        f"postgres://djgytzztmjuuze:8728c8f7e7@{HEROKU}:5432/d6fe43u3livkhu?sslmode=require",
        Host(HEROKU, 5432),
    ),
    Hosted(
        "https://devcenter.heroku.com/articles/connecting-heroku-postgres (Node.js)",
        f"postgres://djgytzztmjuuze:8728c8f7e7@{HEROKU}:5432/d6fe43u3livkhu?sslmode=no-verify",
        Host(HEROKU, 5432),
        refused="write require",
    ),
    Hosted(
        "https://devcenter.heroku.com/articles/concurrency-and-database-connections (Rails)",
        f"postgres://djgytzztmjuuze:8728c8f7e7@{HEROKU}:5432/d6fe43u3livkhu?pool=5&prepared_statements=false",
        Host(HEROKU, 5432),
        "prefer",
        ignored=("pool", "prepared_statements"),
    ),
    Hosted(
        "https://learn.microsoft.com/powershell/module/az.postgresql/get-azpostgresqlflexibleserverconnectionstring",
        f"host={AZURE} port=5432 dbname={{your_database}} user=pwsh password={{your_password}} sslmode=require",
        Host(AZURE, 5432),
    ),
    Hosted(
        "https://learn.microsoft.com/azure/postgresql (single server: the user contains an @)",
        f"postgres://pwsh%40postgresqltestserver:pw@{AZURE}/postgres?sslmode=require",
        Host(AZURE, 5432),
    ),
    Hosted(
        "https://learn.microsoft.com/azure/postgresql (the same, not encoded)",
        f"postgres://pwsh@postgresqltestserver:pw@{AZURE}/postgres?sslmode=require",
        Host("", 0),
        refused="@ as %40",
    ),
    Hosted(
        "https://docs.digitalocean.com/products/databases/postgresql/how-to/connect/",
        f"postgresql://doadmin:AVNS_pw@{DIGITALOCEAN}:25060/defaultdb?sslmode=require",
        Host(DIGITALOCEAN, 25060),
    ),
    Hosted(
        "https://render.com/docs/postgresql-connecting (external)",
        f"postgresql://everyunse:pw@{RENDER}/everyunse_prod",
        Host(RENDER, 5432),
        "prefer",
    ),
    Hosted(
        "https://render.com/docs/postgresql-connecting (internal)",
        "postgresql://everyunse:pw@dpg-d12tgqruibrs73fjvd30-a/everyunse_prod",
        Host("dpg-d12tgqruibrs73fjvd30-a", 5432),
        "prefer",
    ),
    Hosted(
        "https://fly.io/docs/postgres/connecting/connecting-internal/",
        "postgres://plone:pw@mkh-hydra-demo.flycast:5432/plone?sslmode=disable",
        Host("mkh-hydra-demo.flycast", 5432),
        "disable",
    ),
]


@pytest.mark.parametrize("hosted", DSNS, ids=lambda hosted: hosted.source)
def test_a_documented_dsn_is_read_or_refused_with_a_correction(hosted: Hosted) -> None:
    if hosted.refused:
        with pytest.raises(BadDatabaseUrl, match=re.escape(hosted.refused)):
            read_dsn(hosted.dsn, {})
        return
    dsn = read_dsn(hosted.dsn, {})
    assert (dsn.hosts, dsn.tls.mode) == ((hosted.host,), hosted.mode)
    assert [warning.split()[0] for warning in dsn.warnings] == list(hosted.ignored)


def rows(title: str) -> list[list[str]]:
    """Return the cells of the table below a heading of the page."""
    section = re.split(r"^##", PAGE.split(f"# {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    return [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]


def test_the_page_shows_a_valid_dsn_of_each_hosting_service() -> None:
    found = {service: re.findall(r"`(postgres\S+?|host=.+?)`", text) for service, text in rows("Hosting services")}
    assert len(found) == 9
    for dsns in found.values():
        assert read_dsn(dsns[0], {}).warnings == ()


def test_the_page_lists_all_options_of_libpq() -> None:
    honored = {name for option, _ in rows("Options") for name in re.findall(r"`(\w+)`", option)}
    assert honored == {*HONORED, *SERVER_SETTINGS}
    ignored = PAGE.split("### Options that are ignored\n")[1].split("###")[0]
    refused = PAGE.split("### Options that are refused\n")[1].split("\n## ")[0]
    for name, fixed in FIXED.items():
        assert re.search(rf"`{name}\b", refused if fixed.refused else ignored), name


def test_every_option_has_one_treatment() -> None:
    names = [*HONORED, *SERVER_SETTINGS, *FIXED, *FOREIGN, *REPLACED]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", FIXED)
def test_an_option_of_libpq_that_has_no_effect_is_refused_or_ignored_by_name(name: str) -> None:
    fixed = FIXED[name]
    for value in filter(None, fixed.values):
        assert read_dsn(f"postgresql://u@h?{name}={value}", {}).warnings == ()
    other = f"postgresql://u@h?{name}=something"
    if fixed.refused:
        with pytest.raises(BadDatabaseUrl, match=f"^{name} "):
            read_dsn(other, {})
    else:
        assert read_dsn(other, {}).warnings == (f"{name} is ignored: {fixed.reason}.",)


@pytest.mark.parametrize("name", REPLACED)
def test_an_option_with_another_name_in_libpq_is_refused_with_that_name(name: str) -> None:
    with pytest.raises(BadDatabaseUrl, match=f'^"{name}" is not an option of PostgreSQL. Write {REPLACED[name]}'):
        read_dsn(f"postgresql://u@h?{name}=1", {})

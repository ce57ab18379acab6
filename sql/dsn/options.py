"""What Sitelatch does with each connection option of libpq, and with those that DSNs for other drivers contain.

Each option is honored, ignored with a warning because it changes nothing here, or refused.
https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

HONORED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "host": "PGHOST",
        "hostaddr": "PGHOSTADDR",
        "port": "PGPORT",
        "dbname": "PGDATABASE",
        "user": "PGUSER",
        "password": "PGPASSWORD",
        "passfile": "PGPASSFILE",
        "service": "PGSERVICE",
        "connect_timeout": "PGCONNECT_TIMEOUT",
        "options": "PGOPTIONS",
        "application_name": "PGAPPNAME",
        "keepalives": "",
        "keepalives_idle": "",
        "keepalives_interval": "",
        "keepalives_count": "",
        "tcp_user_timeout": "",
        "sslmode": "PGSSLMODE",
        "sslnegotiation": "PGSSLNEGOTIATION",
        "sslcert": "PGSSLCERT",
        "sslkey": "PGSSLKEY",
        "sslcertmode": "PGSSLCERTMODE",
        "sslpassword": "",
        "sslrootcert": "PGSSLROOTCERT",
        "sslcrl": "PGSSLCRL",
        "sslcrldir": "PGSSLCRLDIR",
        "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
        "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
        "target_session_attrs": "PGTARGETSESSIONATTRS",
    }
)
"""The options that are honored, and the environment variables that set them where the DSN does not."""

SERVER_SETTINGS: Final = (
    "statement_timeout",
    "lock_timeout",
    "transaction_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "work_mem",
    "jit",
)
"""Settings of the server that other drivers accept as options, although libpq does not. They are honored too."""


class Fixed(NamedTuple):
    """An option of libpq that cannot be changed here. Values other than `values` are refused or ignored."""

    variable: str
    values: tuple[str, ...]
    """Values that ask for what Sitelatch does anyway."""
    reason: str
    refused: bool = True


_NO_GSS = "Sitelatch does not use GSSAPI"
_NO_OAUTH = "the database driver does not support OAuth"

FIXED: Final[Mapping[str, Fixed]] = MappingProxyType(
    {
        "channel_binding": Fixed(
            "PGCHANNELBINDING",
            ("prefer", "disable"),
            "the database driver does not support channel binding. Remove it and use "
            "sslmode=verify-full, with sslrootcert=system for a public certificate authority, "
            "which proves the server's identity too",
        ),
        "require_auth": Fixed(
            "PGREQUIREAUTH",
            ("",),
            "the database driver accepts any authentication method that the server asks for. Remove it and use "
            "sslmode=verify-full, so that only the right server can ask",
        ),
        "requirepeer": Fixed("PGREQUIREPEER", ("",), "the database driver does not check the owner of a unix socket"),
        "gssencmode": Fixed(
            "PGGSSENCMODE", ("prefer", "disable"), f"{_NO_GSS} encryption. Use sslmode=verify-full instead"
        ),
        "sslsni": Fixed("PGSSLSNI", ("1",), "the database driver always sends the host name to the server"),
        "replication": Fixed("", ("false", "off", "no", "0", ""), "Sitelatch does not use replication connections"),
        "min_protocol_version": Fixed(
            "PGMINPROTOCOLVERSION", ("3.0", ""), "the database driver only speaks protocol version 3.0"
        ),
        "scram_client_key": Fixed("", ("",), "the database driver needs the password itself"),
        "scram_server_key": Fixed("", ("",), "the database driver needs the password itself"),
        "oauth_issuer": Fixed("", ("",), _NO_OAUTH),
        "oauth_client_id": Fixed("", ("",), _NO_OAUTH),
        "oauth_client_secret": Fixed("", ("",), _NO_OAUTH),
        "oauth_scope": Fixed("", ("",), _NO_OAUTH),
        "oauth_ca_file": Fixed("", ("",), _NO_OAUTH),
        "max_protocol_version": Fixed(
            "PGMAXPROTOCOLVERSION", ("3.0", "3.2", "latest", ""), "the database driver speaks 3.0", refused=False
        ),
        "client_encoding": Fixed(
            "PGCLIENTENCODING", ("utf8", "UTF8", "utf-8", "UTF-8", "auto"), "Sitelatch always uses UTF-8", refused=False
        ),
        "fallback_application_name": Fixed("", ("",), "Sitelatch names its connections itself", refused=False),
        "load_balance_hosts": Fixed(
            "PGLOADBALANCEHOSTS", ("disable",), "Sitelatch tries the hosts in order", refused=False
        ),
        "sslcompression": Fixed("PGSSLCOMPRESSION", ("0",), "TLS is never compressed", refused=False),
        "sslkeylogfile": Fixed("", ("",), "Sitelatch never writes TLS secrets to a file", refused=False),
        "krbsrvname": Fixed("PGKRBSRVNAME", ("postgres",), _NO_GSS, refused=False),
        "gsslib": Fixed("PGGSSLIB", ("gssapi",), _NO_GSS, refused=False),
        "gssdelegation": Fixed("PGGSSDELEGATION", ("0",), _NO_GSS, refused=False),
        "authtype": Fixed("", ("",), "PostgreSQL ignores it", refused=False),
        "tty": Fixed("", ("",), "PostgreSQL ignores it", refused=False),
    }
)
"""The options of libpq that have no effect here."""

_SCHEMA = "the tables of Sitelatch are in the schema sitelatch"
_STATEMENTS = "Sitelatch prepares no statements"
_POOL = "Sitelatch sets the size and the timeouts of its pools itself"

FOREIGN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "pgbouncer": _STATEMENTS,
        "statement_cache_size": _STATEMENTS,
        "statement_cache_mode": _STATEMENTS,
        "statement_cache_capacity": _STATEMENTS,
        "description_cache_capacity": _STATEMENTS,
        "default_query_exec_mode": _STATEMENTS,
        "prepared_statement_cache_size": _STATEMENTS,
        "prepared_statements": _STATEMENTS,
        "prepareThreshold": _STATEMENTS,
        "prepare": _STATEMENTS,
        "binary_parameters": _STATEMENTS,
        "max_cached_statement_lifetime": _STATEMENTS,
        "max_cacheable_statement_size": _STATEMENTS,
        "schema": _SCHEMA,
        "search_path": _SCHEMA,
        "currentSchema": _SCHEMA,
        "connection_limit": _POOL,
        "pool": _POOL,
        "pool_size": _POOL,
        "pool_timeout": _POOL,
        "pool_mode": _POOL,
        "pool_max_conns": _POOL,
        "pool_min_conns": _POOL,
        "pool_max_conn_lifetime": _POOL,
        "pool_max_conn_idle_time": _POOL,
        "max_connections": _POOL,
        "max": _POOL,
        "conn_max_age": _POOL,
        "conn_health_checks": _POOL,
        "max_idle_connection_lifetime": _POOL,
        "reaping_frequency": _POOL,
        "socket_timeout": _POOL,
        "command_timeout": _POOL,
        "encoding": "Sitelatch always uses UTF-8",
        "charset": "Sitelatch always uses UTF-8",
        "serverVersion": "Sitelatch asks the server for its version",
        "supa": "it is a mark of Supabase's tools",
        "workaround": "it is a mark of Supabase's tools",
        "uselibpqcompat": "Sitelatch reads options as libpq does anyway",
    }
)
"""Options of other drivers that are common in the DSNs of hosting services, and why they change nothing here."""

REPLACED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "database": "dbname",
        "ssl": "sslmode=require or sslmode=disable",
        "tls": "sslmode=require or sslmode=disable",
        "sslfactory": "sslmode=verify-full or sslmode=require",
        "sslaccept": "sslmode=verify-full or sslmode=require",
        "sslidentity": "sslcert and sslkey",
        "sslca": "sslrootcert",
        "ca": "sslrootcert",
        "username": "user",
        "connectTimeout": "connect_timeout",
        "connection_timeout": "connect_timeout",
        "timeout": "connect_timeout",
        "ApplicationName": "application_name",
        "targetServerType": "target_session_attrs",
        "tcpKeepAlive": "keepalives",
    }
)
"""Options of other drivers that would change something here, and what to write instead."""

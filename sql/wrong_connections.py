"""Distinguishes errors of a statement from errors of a connection that is open but unusable."""

from contextlib import suppress
from typing import Final, Protocol

import asyncpg

_OF_THE_STATEMENT: Final = (
    asyncpg.DataError,  # class 22
    asyncpg.IntegrityConstraintViolationError,  # class 23
    asyncpg.TransactionRollbackError,  # class 40: serialization, deadlock
    asyncpg.InsufficientResourcesError,  # class 53: the disk is full, for example
    asyncpg.ObjectNotInPrerequisiteStateError,  # class 55: locks
    asyncpg.QueryCanceledError,
    asyncpg.RaiseError,  # an exception of our own SQL
)


class Closable(Protocol):
    """A connection that can be closed."""

    def terminate(self) -> None:
        """Close the connection without notifying the server."""


def close(connection: Closable) -> None:
    """Close a connection that is in use, unless it has already been closed."""
    with suppress(asyncpg.InterfaceError):
        connection.terminate()


def is_wrong_connection(error: BaseException) -> bool:
    """Return whether an error shows that its connection must be closed, because a new connection may work.

    Such a connection leads to a server that has been read-only or a standby since a failover, or is shutting down; or
    its session was changed behind a pooler (a prepared statement, the role, the search path); or it leads to another
    database. Any server error that is not known to be about the statement counts, because opening a connection costs
    little, and keeping a wrong one means that nothing works until the process is restarted.
    """
    # asyncpg raises InternalClientError if the server announced the end of the connection before closing it.
    return isinstance(error, (asyncpg.PostgresError, asyncpg.InternalClientError)) and not isinstance(
        error, _OF_THE_STATEMENT
    )

"""Admins: people, the workspaces they are limited to, and the actor of a change."""

from dataclasses import dataclass

WorkspaceLimit = frozenset[str] | None
"""The workspaces that an admin may see and change; None means all of them."""

COMMAND = "command"
"""The address of changes that the `sitelatch` command makes."""


@dataclass(frozen=True, slots=True)
class Person:
    """The person that "Authorized By" and the audit log name."""

    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Admin:
    """An administrator of API users and sites."""

    person: Person
    workspaces: WorkspaceLimit = None


@dataclass(frozen=True, slots=True)
class Actor:
    """The author of a change: what the audit log records, and the workspaces that the change may touch."""

    person: Person
    address: str
    """The client address, or COMMAND."""
    within: WorkspaceLimit = None


def workspace_names(within: WorkspaceLimit) -> list[str] | None:
    """Return a workspace limit as a query parameter."""
    return None if within is None else sorted(within)

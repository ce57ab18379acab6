"""All checks of `sitelatch doctor`, in order."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime

from proxy.relay import descriptors
from sitelatch.config import Config
from sitelatch.config_database import database_warnings
from sitelatch.config_source import Fault
from sitelatch.config_warnings import is_about_shadow_mode, is_about_site_rules, warnings
from sitelatch.doctor.database import database_findings
from sitelatch.doctor.finding import Finding, Status
from sitelatch.doctor.tls_files import tls_findings
from sitelatch.environment import ignored_variables
from sitelatch.reachability import upstream_problem


async def examine(config: Config, clock: Callable[[], float] = time.time) -> AsyncIterator[Finding]:
    """Check an installation. Changes nothing, except that an embedded database is started, and migrated.

    `clock` returns the time of this machine in seconds since 1970.
    """
    for finding in _config_findings(config):
        yield finding
    for finding in await database_findings(config, clock):
        yield finding
    for finding in await _upstream_findings(config):
        yield finding
    for finding in tls_findings(config, datetime.fromtimestamp(clock(), UTC)):
        yield finding
    yield _open_files(config)


def _config_findings(config: Config) -> Iterator[Finding]:
    """Yield the warnings of `check-config`: about the whole config, the rules for sites, and routes in shadow mode."""
    found = warnings(config)
    about_rules = [fault for fault in found if is_about_site_rules(fault)]
    about_shadow_mode = [fault for fault in found if is_about_shadow_mode(fault)]
    special = (*about_rules, *about_shadow_mode)
    others: list[Fault] = [fault for fault in found if fault not in special] + database_warnings(config)
    complaints = [*config.source.complaints(others), *ignored_variables(type(config), os.environ)]
    yield from _warnings("config", complaints, f"{config.file} is valid.")
    unscoped = config.source.complaints(about_rules)
    yield from _warnings("site-rules", unscoped, "no rule reads sites on paths where the API may ignore them.")
    yield from _warnings(
        "shadow-mode", config.source.complaints(about_shadow_mode), "every route enforces the decision."
    )


def _warnings(check: str, complaints: list[str], otherwise: str) -> Iterator[Finding]:
    for complaint in complaints:
        yield Finding(Status.WARNING, check, complaint)
    if not complaints:
        yield Finding(Status.OK, check, otherwise)


async def _upstream_findings(config: Config) -> list[Finding]:
    """Try all upstreams at the same time."""
    routes = config.proxy.routes
    problems = await asyncio.gather(*map(upstream_problem, routes))
    found = []
    for index, (route, problem) in enumerate(zip(routes, problems, strict=True)):
        where = f'{config.source.origin(("proxy", "routes", index, "upstream"))}: the route "{route.name}"'
        if problem is None:
            message = f"{where} reaches {route.upstream}."
            found.append(Finding(Status.OK, "upstream", message))
        else:
            message = f"{where} does not reach {route.upstream}: {problem}. Start the API, or correct `upstream`."
            found.append(Finding(Status.PROBLEM, "upstream", message))
    return found


def _open_files(config: Config) -> Finding:
    descriptors.raise_limit()
    limits, limit = config.limits, descriptors.limit()
    upstreams = {(route.upstream, route.upstream_tls) for route in config.proxy.routes}
    connections = limits.upstream_connections * len(upstreams)
    needed = descriptors.needed(descriptors.in_use(), limits.open_exchanges, connections)
    if limit >= needed:
        message = f"a process started from here may open {_number(limit)} files, and needs at most {needed:,}."
        return Finding(Status.OK, "open-files", message)
    return Finding(
        Status.WARNING,
        "open-files",
        f"a process started from here may open {limit:,} files, but may need {needed:,} for the [limits] of the "
        "config. Raise the hard limit (LimitNOFILE=, ulimit -n, docker --ulimit nofile=), or lower open_exchanges and "
        "upstream_connections.",
    )


def _number(limit: int) -> str:
    return f"{limit:,}" if limit < 1 << 60 else "any number of"

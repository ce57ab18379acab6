"""Real backends must read exactly the site that the decision found in each request that passes."""

import asyncio
import contextlib
import itertools
import os
import shutil
from collections.abc import AsyncIterator, Callable

import pytest

from tests.backends.campaign import Campaign, Outcome
from tests.backends.catalog import QUICK, Backend
from tests.backends.client import Client
from tests.backends.conftest import COUNTS
from tests.backends.debian import DEBIAN
from tests.backends.door import Door
from tests.backends.exceptions import excuse
from tests.backends.generator import requests
from tests.backends.place import Place
from tests.backends.rulesets import KEY, RULE_SETS

REQUESTS = int(os.environ.get("BACKEND_REQUESTS", "7500"))
"""Generated requests per backend."""

SECONDS = float(os.environ.get("BACKEND_SECONDS", "60"))
"""Time limit for the run of one backend."""

SEARCH_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"

SEED = os.environ.get("BACKEND_SEED", "1")

pytestmark = pytest.mark.backends


@contextlib.asynccontextmanager
async def _doors(backend: Backend) -> AsyncIterator[dict[str, Door]]:
    doors = {name: rules.door(KEY, **backend.route) for name, rules in RULE_SETS.items()}
    for door in doors.values():
        await door.warm()
    yield doors
    for door in doors.values():
        await door.close()


async def _campaign(backend: Backend, port: int) -> Outcome:
    async with _doors(backend) as doors:
        with contextlib.closing(Client(port)) as client:
            campaign = Campaign(doors, client, lambda request, fault: excuse(backend.name, request, fault))
            return campaign.run(itertools.islice(requests(f"{SEED}:{backend}"), REQUESTS), SECONDS)


Record = Callable[[str, object], None]


def _run(backend: Backend, place: Place, record_property: Record) -> None:
    missing = [program for program in backend.programs if shutil.which(program, path=SEARCH_PATH) is None]
    assert not missing, f"{backend} needs {missing}: run `make test-backends`"
    backend.start(place)
    place.wait()
    outcome = asyncio.run(_campaign(backend, place.port))
    record_property(f"{COUNTS} {backend}", str(outcome))
    assert not outcome.failures, "\n\n".join(map(str, (f"{outcome.failed} failures", *outcome.failures)))
    assert not outcome.ordinary_refused, "\n\n".join(
        f"{code}: {request.shown()}" for request, code in outcome.ordinary_refused[:5]
    )
    assert outcome.generated == REQUESTS, f"only {outcome.generated} within {SECONDS:.0f} s"
    # A backend that declines most requests would make the test meaningless.
    assert outcome.reported > outcome.passed * 0.8
    assert outcome.passed > outcome.generated * 0.25
    assert outcome.plain > outcome.passed * 0.03


@pytest.mark.parametrize("backend", QUICK, ids=str)
def test_a_backend_reads_the_decided_site(backend: Backend, place: Place, record_property: Record) -> None:
    _run(backend, place, record_property)


@pytest.mark.slow
@pytest.mark.parametrize("backend", DEBIAN, ids=str)
def test_a_debian_backend_reads_the_decided_site(backend: Backend, place: Place, record_property: Record) -> None:
    _run(backend, place, record_property)

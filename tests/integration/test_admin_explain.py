"""`POST /admin/explain`: the decision on a request that is not sent, for the page's "Try a request"."""

import json
from typing import Any

import asyncpg
import pytest

from admin.app import admin_app
from sql.pool import open_pool
from tests.integration.adminapi import BEN_TOKEN, FRONT_DOOR, SETTINGS, AdminClient, acme, admin, serving
from tests.integration.test_admin_access import all_rows
from tests.ports import free_port

__all__ = ["acme", "admin"]


async def explained(client: AdminClient, **request: Any) -> dict[str, Any]:
    status, body, _ = await client.request("POST", "/explain", request)
    assert status == 200, body
    return body  # type: ignore[no-any-return]


async def test_a_request_of_an_api_user_and_of_its_key_get_the_same_decision(acme: AdminClient) -> None:
    user = await acme.create(workspace="acme", sites=["shop"])
    for who in ({"user_id": user["id"]}, {"api_key": user["api_key"]}, {"headers": [f"X-API-Key: {user['api_key']}"]}):
        passes = await explained(acme, url="/api/sites/shop/x?a=b", **who)
        assert (passes["outcome"], passes["status"], passes["code"]) == ("passes", None, None)
        assert [step["title"] for step in passes["steps"]] == ["Head", "Route", "Sites", "Key", "Forwarded"]
        assert passes["steps"][-1]["lines"][0] == "GET /api/sites/shop/x?a=b to http://127.0.0.1:9000"
        refused = await explained(acme, url="/api/sites/blog/x", **who)
        assert (refused["outcome"], refused["status"], refused["code"]) == ("refused", 403, "site_not_allowed")
        assert refused["hints"] == ["The key's scope does not contain the site 'blog'."]
    unknown = await explained(acme, url="/api/sites/shop/x", api_key="slk_" + "0" * 38)
    assert (unknown["outcome"], unknown["status"], unknown["code"]) == ("refused", 401, "invalid_key")
    nobody = await explained(acme, url="http://data.example/api/sites/shop/x", method="POST")
    assert (nobody["code"], nobody["steps"][0]["lines"][-1][:38]) == (
        "missing_key",
        "The target is judged and forwarded as ",
    )


async def test_an_explanation_states_the_limit_of_the_api_user(acme: AdminClient) -> None:
    user = await acme.create(workspace="acme", sites=["shop"])
    await acme.request("PATCH", f"/users/{user['id']}", {"requests_per_second": 0.5})
    for who in ({"user_id": user["id"]}, {"api_key": user["api_key"]}):
        for _ in range(2):  # explaining takes no token
            passes = await explained(acme, url="/api/sites/shop/x", **who)
            assert passes["outcome"] == "passes"
            [[line]] = [step["lines"] for step in passes["steps"] if step["title"] == "Limit"]
            assert line.startswith("0.5 requests per second, in bursts of 1, for this API user. ")


async def test_an_unknown_api_user_and_an_outage_leave_the_request_undecided(acme: AdminClient) -> None:
    missing = await explained(acme, url="/api/sites/shop/x", user_id="00000000-0000-4000-8000-000000000000")
    assert (missing["outcome"], missing["reason"]) == ("undecided", "This API user does not exist.")
    async with (
        await open_pool(f"postgresql://x@127.0.0.1:{free_port()}/x", role="admin") as unreachable,
        serving(admin_app(SETTINGS, unreachable, front_door=FRONT_DOOR)) as client,
    ):
        outage = await explained(client, url="/api/sites/shop/x", api_key="slk_" + "0" * 38)
        assert outage["outcome"] == "undecided"
        assert (await explained(client, url="/nowhere/../x"))["outcome"] == "refused"


@pytest.mark.parametrize(
    ("request_body", "pointer"),
    [
        ({"url": "/x", "headers": ["Host"]}, "#/headers/0"),
        ({"url": "/x", "headers": [": no name"]}, "#/headers/0"),
        ({"url": "/x", "headers": ["A: b\r\nX-Site: shop"]}, "#/headers/0"),
        ({"url": "/x\r\nX-Site: shop"}, "#/url"),
        ({"url": "/x", "user_id": "a", "api_key": "b"}, "#/api_key"),
        ({"url": "/x", "client_address": "192.0.2.7:80"}, "#/client_address"),
        ({"method": "GET"}, "#/url"),
    ],
)
async def test_an_invalid_request_is_refused(acme: AdminClient, request_body: Any, pointer: str) -> None:
    status, problem, _ = await acme.request("POST", "/explain", request_body)
    assert (status, problem["errors"][0]["pointer"]) == (422, pointer)


async def test_a_pasted_key_reaches_no_log_no_table_and_no_response(
    acme: AdminClient, pool: asyncpg.Pool, capfd: pytest.CaptureFixture[str]
) -> None:
    key = (await acme.create(workspace="acme", sites=["shop"]))["api_key"]
    before = await all_rows(pool)
    bodies: list[dict[str, Any]] = [
        {"url": "/api/sites/shop/x", "api_key": key},
        {"url": "/api/sites/shop/x", "api_key": f" {key}\t"},
        {"url": f"/api/sites/{key}/x", "headers": [f"Authorization: Bearer {key}", f"{key}: x"]},
        {"url": f"/api/sites/shop/x?site={key}&api_key={key}", "user_id": key},
        {"url": f"/x?{key}", "method": key},
        {"url": "/x", "headers": [key]},
        {"url": "/x", "headers": [f"A: {key}"], "user_id": key, "api_key": key},
        {"url": "/x", key: key},
    ]
    for body in bodies:
        _, answer, _ = await acme.request("POST", "/explain", body)
        assert key not in json.dumps({name: value for name, value in answer.items() if name != "errors"}), body
    assert await all_rows(pool) == before
    out, err = capfd.readouterr()
    assert key not in out + err


async def test_a_limited_admin_learns_nothing_about_other_workspaces(acme: AdminClient) -> None:
    foreign = await acme.create(workspace="globex", sites=["wiki"], name="Globex exporter")
    own = await acme.create(workspace="acme", sites=["shop"])
    ben = acme.as_(BEN_TOKEN)

    def told(answer: dict[str, Any]) -> str:
        return json.dumps(answer).replace("wiki", "nope").replace("globex", "nope")

    # A site of another workspace looks like one that does not exist.
    wiki, nope = [await explained(ben, url=f"/api/sites/{site}/x", user_id=own["id"]) for site in ("wiki", "nope")]
    assert (told(wiki), wiki["hints"]) == (told(nope), ["There is no site 'wiki' in your workspaces."])
    # Another workspace's API user is hidden too, but the holder of its key gets the verdict.
    missing = await explained(ben, url="/api/sites/wiki/x", user_id=foreign["id"])
    assert missing["reason"] == "This API user does not exist."
    answer = await explained(ben, url="/api/sites/wiki/x", api_key=foreign["api_key"])
    assert answer["outcome"] == "passes"
    refused = await explained(ben, url="/api/sites/shop/x", api_key=foreign["api_key"])
    assert (refused["code"], refused["hints"]) == ("site_not_allowed", [])
    for shown in (answer, refused, await explained(ben, url="/api/sites/shop/x", user_id=own["id"])):
        text = json.dumps(shown)
        assert not [secret for secret in (foreign["id"], "globex", "127.0.0.1:9000") if secret in text], text

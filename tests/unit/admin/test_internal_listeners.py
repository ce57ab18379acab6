"""The servers of the ops and admin listeners."""

import pytest
from aiohttp import ClientSession, web

from admin.internal_listeners import InternalRunner


@pytest.mark.parametrize(("segments", "status"), [(10, 200), (4000, 404)])
async def test_a_path_with_very_many_segments_does_not_reach_the_router(segments: int, status: int) -> None:
    async def respond(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/{path:.*}", respond)
    runner = InternalRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    async with ClientSession() as session, session.get(f"http://{host}:{port}" + "/a" * segments) as response:
        assert response.status == status
    await runner.cleanup()

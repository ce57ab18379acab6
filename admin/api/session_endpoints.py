"""The routes by which the page signs in and out, and learns who asks."""

from aiohttp import web

from admin.api.endpoints import Route, route
from admin.api.handlers import ASKER, answer, nothing
from admin.api.request_models import NoQuery, SignIn
from admin.api.response_models import PersonView, RoundTripView, SessionView, TryIt, WaysIn
from admin.identity.admin_tokens import names
from admin.identity.authentication import Asker
from admin.identity.sign_in import Door
from admin.problems import CrossSite, DatabaseDown, IssuerDown, NotFound, NotSignedIn, TooManyAttempts


class SessionRoutes:
    """Signs in and out. `try_it` and `recoverable_keys` are what the page is told of this installation."""

    def __init__(self, door: Door, *, recoverable_keys: bool, try_it: TryIt | None) -> None:
        self._door = door
        self._recoverable_keys = recoverable_keys
        self._try_it = try_it

    def routes(self) -> list[Route]:
        """Return this part of the route table."""
        return [
            route(
                "POST",
                "/session",
                self.sign_in,
                SignIn,
                {200: SessionView},
                NotSignedIn,
                CrossSite,
                TooManyAttempts,
                DatabaseDown,
                open_to_all=True,
            ),
            route("GET", "/sign-in", self.list_ways_in, NoQuery, {200: WaysIn}, open_to_all=True),
            route(
                "POST",
                "/sign-in/oidc",
                self.begin_round_trip,
                NoQuery,
                {200: RoundTripView},
                CrossSite,
                NotFound,
                TooManyAttempts,
                IssuerDown,
                open_to_all=True,
            ),
            route("GET", "/session", self.get_session, NoQuery, {200: SessionView}),
            route("DELETE", "/session", self.sign_out, NoQuery, {204: None}),
        ]

    async def sign_in(self, request: web.Request, wish: SignIn) -> web.Response:
        """Trade an admin's token for a session, which is a cookie. For browsers: it needs their Origin."""
        asker, cookie = await self._door.with_token(request, wish.token)
        return answer(self._session(asker), set_cookie=cookie)

    async def list_ways_in(self, request: web.Request, _: NoQuery) -> web.Response:
        """Say how admins sign in on the page."""
        return answer(WaysIn(token=self._door.tokens_exist, oidc=self._door.issuer_name))

    async def begin_round_trip(self, request: web.Request, _: NoQuery) -> web.Response:
        """Begin to sign in at the OpenID Connect issuer. For browsers: it needs their Origin, and keeps a cookie."""
        location, cookie = await self._door.begin_round_trip(request)
        return answer(RoundTripView(location=location), set_cookie=cookie)

    async def get_session(self, request: web.Request, _: NoQuery) -> web.Response:
        """Show who is asking."""
        asker = request[ASKER]
        return answer(self._session(asker), set_cookie=asker.set_cookie)

    async def sign_out(self, request: web.Request, _: NoQuery) -> web.Response:
        """End the session."""
        return nothing(set_cookie=await self._door.sign_out(request))

    def _session(self, asker: Asker) -> SessionView:
        admin = asker.admin
        return SessionView(
            person=PersonView(name=admin.person.name, email=admin.person.email),
            workspaces=names(admin.workspaces),
            csrf_token=asker.csrf_token,
            can_sign_out=asker.has_session,
            recoverable_keys=self._recoverable_keys,
            try_it=self._try_it,
        )

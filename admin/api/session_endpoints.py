"""Endpoints that the page uses to sign the user in and out, and to read the session."""

from collections.abc import Sequence

from aiohttp import hdrs, web

from admin.api.endpoints import Endpoint, endpoint
from admin.api.handlers import CALLER, json_response, no_content
from admin.api.request_models import NoQuery, SignIn
from admin.api.response_models import AuthorizationRedirect, ExampleRequest, PersonView, SessionView, SignInMethods
from admin.identity.admins import workspace_names
from admin.identity.authentication import Caller
from admin.identity.sign_in import SignInFlow
from admin.problems import CrossSite, DatabaseDown, IssuerDown, NotFound, NotSignedIn, TooManyAttempts


class SessionEndpoints:
    """Sign in and out. The other arguments are facts about this installation for the page."""

    def __init__(
        self,
        sign_in: SignInFlow,
        *,
        recoverable_keys: bool,
        try_it: ExampleRequest | None,
        shadow_routes: Sequence[str] = (),
    ) -> None:
        """`shadow_routes` are the routes in shadow mode."""
        self._sign_in = sign_in
        self._shadow_routes = list(shadow_routes)
        self._recoverable_keys = recoverable_keys
        self._try_it = try_it

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this group."""
        return [
            endpoint(
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
            endpoint("GET", "/sign-in", self.list_sign_in_methods, NoQuery, {200: SignInMethods}, open_to_all=True),
            endpoint(
                "POST",
                "/sign-in/oidc",
                self.start_oidc_sign_in,
                NoQuery,
                {200: AuthorizationRedirect},
                CrossSite,
                NotFound,
                TooManyAttempts,
                IssuerDown,
                open_to_all=True,
            ),
            endpoint("GET", "/session", self.get_session, NoQuery, {200: SessionView}),
            endpoint("DELETE", "/session", self.sign_out, NoQuery, {204: None}),
        ]

    async def sign_in(self, request: web.Request, body: SignIn) -> web.Response:
        """Exchange an admin token for a session cookie. For browsers: requires the Origin header."""
        caller, cookie = await self._sign_in.with_token(request, body.token)
        return json_response(self._session(caller), set_cookie=cookie)

    async def list_sign_in_methods(self, request: web.Request, _: NoQuery) -> web.Response:
        """List the sign-in methods of the page."""
        return json_response(SignInMethods(token=self._sign_in.tokens_exist, oidc=self._sign_in.issuer_name))

    async def start_oidc_sign_in(self, request: web.Request, _: NoQuery) -> web.Response:
        """Start signing in at the OpenID Connect issuer. For browsers: requires the Origin header and sets a cookie."""
        location, cookies = await self._sign_in.start_oidc(request)
        response = json_response(AuthorizationRedirect(location=location))
        for cookie in cookies:
            response.headers.add(hdrs.SET_COOKIE, cookie)
        return response

    async def get_session(self, request: web.Request, _: NoQuery) -> web.Response:
        """Show the signed-in admin."""
        caller = request[CALLER]
        return json_response(self._session(caller), set_cookie=caller.set_cookie)

    async def sign_out(self, request: web.Request, _: NoQuery) -> web.Response:
        """End the session."""
        return no_content(set_cookie=await self._sign_in.sign_out(request))

    def _session(self, caller: Caller) -> SessionView:
        admin = caller.admin
        return SessionView(
            person=PersonView(name=admin.person.name, email=admin.person.email),
            workspaces=workspace_names(admin.workspaces),
            csrf_token=caller.csrf_token,
            can_sign_out=caller.has_session,
            recoverable_keys=self._recoverable_keys,
            try_it=self._try_it,
            shadow_routes=self._shadow_routes,
        )

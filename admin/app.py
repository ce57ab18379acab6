"""The admin application. Every request needs credentials, and errors reveal nothing internal."""

import traceback
from collections.abc import Callable, Sequence

import asyncpg
import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from admin.api.endpoint_table import api_endpoints
from admin.api.explain import FrontDoorSettings
from admin.api.handlers import CALLER
from admin.api.response_models import ExampleRequest
from admin.connections import DATABASE_DOWN, WRONG_SCHEMA, Lanes, database_problem
from admin.first_responses import FirstResponses
from admin.identity.admin_tokens import AdminTokens
from admin.identity.authentication import Authenticator
from admin.identity.client_address import ADDRESS, address_of, peer_of
from admin.identity.identity_proxy import IdentityProxy
from admin.identity.oidc_callback import callback_routes
from admin.identity.provider import identity_provider
from admin.identity.sign_in import SignInFlow
from admin.integrators_guide import guide_routes
from admin.key_encryption import key_cipher
from admin.page import page_routes
from admin.problem_details import plain_problem, problem_response
from admin.problems import DatabaseDown, Forbidden, InternalError, Invalid, NotSignedIn, Problem
from admin.settings import AdminSettings
from proxy.http.forwarding import UNKNOWN, address_matcher, client_address
from proxy.relay.tls_files import WatchedFiles

log = structlog.get_logger("sitelatch.admin")


USE_CREDENTIALS: web.AppKey[Callable[[AdminSettings], None]] = web.AppKey("use_credentials")
"""A function that replaces the tokens and the issuer's client secret of the application with those of new settings."""

WATCHED_FILES: web.AppKey[Sequence[WatchedFiles]] = web.AppKey("watched_files")
"""The files that the application reads again when they change."""


def admin_app(
    settings: AdminSettings,
    pool: asyncpg.Pool,
    try_it: ExampleRequest | None = None,
    guide: str = "",
    front_door: FrontDoorSettings | None = None,
) -> web.Application:
    """Return the application, to be mounted at /admin.

    `try_it` is the example request that the page shows beside a new key. `guide` is the integrators' guide.
    `front_door` are the settings with which the page explains decisions.
    """
    tokens = AdminTokens(settings.tokens)
    oidc = identity_provider(settings.oidc, settings.public_url)
    proxy = None if settings.identity_proxy is None else IdentityProxy(settings.identity_proxy)
    lanes = Lanes(pool)
    authenticator = Authenticator(tokens, oidc, proxy, lanes.sessions)
    sign_in = SignInFlow(tokens, oidc, lanes.sessions)
    endpoints = api_endpoints(lanes, sign_in, key_cipher(settings.recoverable_keys), try_it, front_door)
    first_responses = FirstResponses(authenticator, endpoints)
    page = [*page_routes(first_responses.for_page), *callback_routes(sign_in)]
    open_to_all = frozenset(
        (*(endpoint.serve for endpoint in endpoints if endpoint.open), *(serve for _, _, serve in page))
    )
    middlewares = [_locate(settings.trusted_proxies), _answer_problems, _authenticate(authenticator, open_to_all)]
    app = web.Application(middlewares=middlewares)

    def use_credentials(fresh: AdminSettings) -> None:
        tokens.replace(fresh.tokens)
        if oidc is not None and fresh.oidc is not None:
            oidc.client_secret = fresh.oidc.client_secret

    app[USE_CREDENTIALS] = use_credentials
    app[WATCHED_FILES] = [] if oidc is None else [oidc.watched]
    if oidc is not None:
        app.on_cleanup.append(lambda _: oidc.close())
    # Ids may contain braces, which aiohttp's default pattern excludes.
    api = [(endpoint.method, endpoint.path.replace("{id}", "{id:[^/]+}"), endpoint.serve) for endpoint in endpoints]
    for method, path, serve in (*page, *guide_routes(guide), *api):
        resource = app.router.add_resource(path)
        for allowed in ("GET", "HEAD") if method == "GET" else (method,):  # RFC 9110 §9.1
            resource.add_route(allowed, serve)
    return app


def _locate(trusted_proxies: Sequence[str]) -> Middleware:
    is_trusted = address_matcher(trusted_proxies)

    @web.middleware
    async def locate(request: web.Request, handler: Handler) -> web.StreamResponse:
        peer = peer_of(request)
        address = client_address(request.raw_headers, peer, is_trusted) if is_trusted(peer) else peer
        request[ADDRESS] = peer if address == UNKNOWN else address  # the audit log has at least the proxy's
        return await handler(request)

    return locate


@web.middleware
async def _answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into problem details, which contain only public sentences. The log has the details."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem_response(problem)
    except web.HTTPException as error:
        allow = error.headers.get(hdrs.ALLOW)
        return plain_problem(error.status, {} if allow is None else {hdrs.ALLOW: allow})
    except DATABASE_DOWN as error:
        return problem_response(database_problem(error))
    except asyncpg.UntranslatableCharacterError:
        return problem_response(
            Invalid("The encoding of the database has no code for one of these characters. Nothing was changed.")
        )
    except WRONG_SCHEMA as error:
        log.error("admin_wrong_schema", reason="run `sitelatch migrate`", error=type(error).__name__)
        return problem_response(
            DatabaseDown("The database schema does not match this version of Sitelatch. See the log.")
        )
    except Exception as error:
        # The location, but not the message: PostgreSQL's messages can contain whole rows.
        log.error(
            "admin_request_failed",
            method=request.method,
            error=type(error).__name__,
            where=[f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)],
        )
        return problem_response(InternalError("Internal Server Error."))


def _authenticate(authenticator: Authenticator, open_to_all: frozenset[Handler]) -> Middleware:
    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        # Paths that the table does not list also need credentials.
        if request.match_info.handler not in open_to_all:
            try:
                request[CALLER] = await authenticator.authenticate(request)
            except (NotSignedIn, Forbidden) as refused:
                log.info("admin_request_refused", client=address_of(request), code=refused.code)
                raise
        return await handler(request)

    return authenticate

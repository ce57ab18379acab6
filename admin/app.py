"""The admin application: nobody gets in without a token, and no error tells more than it should."""

import traceback
from collections.abc import Sequence

import asyncpg
import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from admin.api.endpoint_table import api_endpoints
from admin.api.handlers import CALLER
from admin.api.response_models import ExampleRequest
from admin.connections import DATABASE_DOWN, WRONG_SCHEMA, database_down
from admin.identity.admin_tokens import AdminTokens
from admin.identity.authentication import Authenticator
from admin.identity.client_address import ADDRESS, address_of, peer_of
from admin.identity.identity_proxy import IdentityProxy
from admin.identity.oidc import Oidc
from admin.identity.oidc_callback import callback_routes
from admin.identity.sign_in import SignInFlow
from admin.integrators_guide import guide_routes
from admin.key_encryption import key_cipher
from admin.page import page_routes
from admin.problems import (
    DatabaseDown,
    Forbidden,
    InternalError,
    NotSignedIn,
    Problem,
    plain_problem,
    problem_response,
)
from admin.settings import AdminSettings
from proxy.http.forwarding import address_matcher, client_address

log = structlog.get_logger("sitelatch.admin")


def admin_app(
    settings: AdminSettings, pool: asyncpg.Pool, try_it: ExampleRequest | None = None, guide: str = ""
) -> web.Application:
    """Return the application, to be mounted at /admin. Nobody gets in without credentials.

    `try_it` is what the page shows of a request to this installation's data, `guide` what is handed to those who call.
    """
    tokens = AdminTokens(settings.tokens)
    oidc = None if settings.oidc is None or settings.public_url is None else Oidc(settings.oidc, settings.public_url)
    proxy = None if settings.identity_proxy is None else IdentityProxy(settings.identity_proxy)
    authenticator = Authenticator(tokens, oidc, proxy, pool)
    sign_in = SignInFlow(tokens, oidc, pool)
    routes = api_endpoints(pool, sign_in, key_cipher(settings.recoverable_keys), try_it)
    page = [*page_routes(), *callback_routes(sign_in)]
    open_to_all = frozenset((*(route.serve for route in routes if route.open), *(serve for _, _, serve in page)))
    middlewares = [_locate(settings.trusted_proxies), _answer_problems, _let_in(authenticator, open_to_all)]
    app = web.Application(middlewares=middlewares)
    if oidc is not None:
        app.on_cleanup.append(lambda _: oidc.close())
    # An id may hold braces, which aiohttp's own pattern leaves out.
    api = [(route.method, route.path.replace("{id}", "{id:[^/]+}"), route.serve) for route in routes]
    for method, path, serve in (*page, *guide_routes(guide), *api):
        resource = app.router.add_resource(path)
        for served in ("GET", "HEAD") if method == "GET" else (method,):  # RFC 9110 §9.1
            resource.add_route(served, serve)
    return app


def _locate(trusted_proxies: Sequence[str]) -> Middleware:
    is_trusted = address_matcher(trusted_proxies)

    @web.middleware
    async def locate(request: web.Request, handler: Handler) -> web.StreamResponse:
        peer = peer_of(request)
        request[ADDRESS] = client_address(request.raw_headers, peer, is_trusted) if is_trusted(peer) else peer
        return await handler(request)

    return locate


@web.middleware
async def _answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into problem details that hold nothing but public sentences; the log has the rest."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem_response(problem)
    except web.HTTPException as error:
        allow = error.headers.get(hdrs.ALLOW)
        return plain_problem(error.status, {} if allow is None else {hdrs.ALLOW: allow})
    except DATABASE_DOWN as error:
        return problem_response(database_down(error))
    except WRONG_SCHEMA as error:
        log.error("the schema is not this version's: run `sitelatch migrate`", error=type(error).__name__)
        return problem_response(DatabaseDown("The database has another version. The log says more."))
    except Exception as error:
        # Where, but not the text: PostgreSQL's repeats whole rows.
        log.error(
            "an admin request failed",
            method=request.method,
            error=type(error).__name__,
            where=[f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)],
        )
        return problem_response(InternalError("Internal Server Error."))


def _let_in(authenticator: Authenticator, open_to_all: frozenset[Handler]) -> Middleware:
    @web.middleware
    async def let_in(request: web.Request, handler: Handler) -> web.StreamResponse:
        # Only what the table opens is open: what is not in it is shut like the rest.
        if request.match_info.handler not in open_to_all:
            try:
                request[CALLER] = await authenticator.authenticate(request)
            except (NotSignedIn, Forbidden) as refused:
                log.info("an admin request was refused", client=address_of(request), code=refused.code)
                raise
        return await handler(request)

    return let_in

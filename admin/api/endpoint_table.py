"""All endpoints of the admin API."""

from aiohttp import web

from admin.api.audit_endpoints import AuditEndpoints
from admin.api.endpoints import Endpoint, endpoint
from admin.api.explain import FrontDoorSettings
from admin.api.explain_endpoints import ExplainEndpoints
from admin.api.handlers import json_response
from admin.api.key_import_endpoints import KeyImportEndpoints
from admin.api.openapi import openapi
from admin.api.request_models import NoQuery
from admin.api.response_models import Document, ExampleRequest
from admin.api.session_endpoints import SessionEndpoints
from admin.api.shadow_endpoints import ShadowEndpoints
from admin.api.site_endpoints import SiteEndpoints
from admin.api.usage_endpoints import UsageEndpoints
from admin.api.user_endpoints import UserEndpoints
from admin.api.workspace_endpoints import WorkspaceEndpoints
from admin.connections import Lanes
from admin.identity.sign_in import SignInFlow
from admin.key_encryption import KeyCipher
from proxy.observe.metrics import installed_version


def api_endpoints(
    lanes: Lanes,
    sign_in: SignInFlow,
    cipher: KeyCipher | None = None,
    try_it: ExampleRequest | None = None,
    front_door: FrontDoorSettings | None = None,
) -> list[Endpoint]:
    """Return every endpoint, with what it accepts, returns and refuses.

    Decisions can be explained only with the settings of the front door.
    """

    async def describe(request: web.Request, _: NoQuery) -> web.Response:
        """Describe this API."""
        return json_response(document)

    endpoints = [
        *UserEndpoints(lanes, cipher).endpoints(),
        *UsageEndpoints(lanes).endpoints(),
        *KeyImportEndpoints(
            lanes, cipher, accept_foreign=front_door is None or front_door.keys.accept_foreign
        ).endpoints(),
        *WorkspaceEndpoints(lanes).endpoints(),
        *AuditEndpoints(lanes).endpoints(),
        *SiteEndpoints(lanes).endpoints(),
        *(ExplainEndpoints(lanes, front_door).endpoints() if front_door is not None else ()),
        *ShadowEndpoints(lanes).endpoints(),
        *SessionEndpoints(
            sign_in, recoverable_keys=cipher is not None, try_it=try_it, shadow_routes=_shadow_routes(front_door)
        ).endpoints(),
        endpoint("GET", "/openapi.json", describe, NoQuery, {200: Document}),
    ]
    document = Document(openapi(endpoints, installed_version()))
    return endpoints


def _shadow_routes(front_door: FrontDoorSettings | None) -> list[str]:
    routes = front_door.proxy.routes if front_door is not None else ()
    return [route.name for route in routes if route.mode == "shadow"]

"""The endpoint that explains the decision on a request, as `sitelatch explain` does."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from aiohttp import web

from admin.api.endpoints import Endpoint, endpoint
from admin.api.explain import ExplainedRequest, Explainer, FrontDoorSettings
from admin.api.explanation import Explained, Outcome
from admin.api.handlers import admin_of, json_response
from admin.api.request_models import TriedRequest
from admin.api.response_models import ExplainedStep, Explanation
from admin.connections import Lanes
from admin.problems import Fault, Invalid
from proxy.decision.networks import read_address
from proxy.observe.redaction import mask

_OUTCOMES: Final[Mapping[Outcome, Literal["passes", "refused", "undecided"]]] = MappingProxyType(
    {Outcome.PASSES: "passes", Outcome.REFUSED: "refused", Outcome.UNDECIDED: "undecided"}
)


class ExplainEndpoints:
    """Explain the decision on a request."""

    def __init__(self, lanes: Lanes, front_door: FrontDoorSettings) -> None:
        self._lanes = lanes
        self._explainer = Explainer(front_door)

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this group."""
        return [endpoint("POST", "/explain", self.explain_request, TriedRequest, {200: Explanation})]

    async def explain_request(self, request: web.Request, body: TriedRequest) -> web.Response:
        """Decide on a request without sending it, and say why. Nothing is recorded."""
        tried = _tried(body)
        within = admin_of(request).workspaces
        return json_response(_view(await self._explainer.explain(tried, self._lanes.lookups.turn, within)))


def _tried(body: TriedRequest) -> ExplainedRequest:
    """Return the request in a body. Raises Invalid, without quoting what may be a key."""
    if body.user_id is not None and body.api_key is not None:
        raise Invalid.at("api_key", detail="Set either user_id or api_key, not both.")
    fields = []
    for index, line in enumerate(body.headers):
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            detail = "A header must be a line NAME: VALUE."
            raise Invalid(detail, (Fault(("headers", index), detail),))
        fields.append((name.strip().encode(), value.strip().encode()))
    key = body.api_key.strip() if body.api_key is not None else None
    if body.client_address is not None and read_address(body.client_address) is None:
        raise Invalid.at("client_address", detail="The client's address must be an IP address, such as 192.0.2.7.")
    return ExplainedRequest(
        method=body.method.encode(),
        target=body.url.encode(),
        fields=fields,
        user_id=body.user_id,
        key=key.encode() if key else None,
        address=body.client_address,
    )


def _view(explained: Explained) -> Explanation:
    """Return the response. The request may hold a key in an unexpected place, such as its path."""
    refusal = explained.refusal
    return Explanation(
        outcome=_OUTCOMES[explained.outcome],
        status=refusal.status if refusal is not None else None,
        code=refusal.code if refusal is not None else None,
        reason=mask(explained.reason),
        hints=[mask(hint) for hint in explained.hints],
        steps=[
            ExplainedStep(title=step.title, lines=[_printable(mask(line)) for line in step.lines])
            for step in explained.steps
        ],
    )


def _printable(text: str) -> str:
    """Return the text with surrogates escaped, which JSON in UTF-8 cannot contain."""
    return text.encode("utf-8", "backslashreplace").decode()

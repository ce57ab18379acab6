"""Who a trusted proxy in front says is asking. Only its own connections are believed: anybody can send headers."""

from aiohttp import web

from admin.identity.admins import Admin
from admin.identity.allow_list import AllowList, Claims, rule
from admin.identity.client_address import peer_of
from admin.problems import NotSignedIn
from admin.settings import IdentityProxySettings
from proxy.http.forwarding import address_matcher


class IdentityProxy:
    """A proxy that signs people in, and whom of those the config lets in."""

    def __init__(self, settings: IdentityProxySettings) -> None:
        self._is_ours = address_matcher(settings.addresses)
        self._email, self._user = settings.email_header, settings.user_header
        self._allowed = AllowList(map(rule, settings.allow))

    def claims(self, request: web.BaseRequest) -> Claims | None:
        """Return whom the proxy names; None where it names nobody, or the request is not the proxy's.

        Raises NotSignedIn where it names two: then it has let a client's own header through.
        """
        if not self._is_ours(peer_of(request)):
            return None
        emails, users = (request.headers.getall(name, []) for name in (self._email, self._user))
        if len(emails) > 1 or len(users) > 1:
            raise NotSignedIn("The proxy's headers name more than one person. It must drop what its clients send.")
        email, user = ((values[0] if values else "") for values in (emails, users))
        if not (email or user):
            return None
        # It is trusted, so an email from it is verified.
        return {"sub": user, "name": user, "email": email, "email_verified": True}

    def admit(self, claims: Claims) -> Admin | None:
        """Return the admin whom the proxy names, or None."""
        return self._allowed.admit(claims)

"""Identity from a trusted proxy's headers, on the proxy's own connections only, because any client can send them."""

from aiohttp import web

from admin.identity.admins import Admin
from admin.identity.allow_list import AllowList, Claims, rule
from admin.identity.client_address import peer_of
from admin.identity.rejections import not_an_admin
from admin.problems import NotAnAdmin, NotSignedIn
from admin.settings import IdentityProxySettings
from proxy.http.forwarding import address_matcher


class IdentityProxy:
    """A proxy that signs people in, with the allow list of admins."""

    def __init__(self, settings: IdentityProxySettings) -> None:
        self._is_ours = address_matcher(settings.addresses)
        self._email, self._user = settings.email_header, settings.user_header
        self._allow_list = AllowList(map(rule, settings.allow))

    def claims(self, request: web.BaseRequest) -> Claims | None:
        """Return the claims in the proxy's headers, or None if there are none or the peer is not the proxy.

        Raises NotSignedIn if a header is repeated, which means that the proxy let a client's own header through.
        """
        if not self._is_ours(peer_of(request)):
            return None
        emails, users = (request.headers.getall(name, []) for name in (self._email, self._user))
        if len(emails) > 1 or len(users) > 1:
            raise NotSignedIn(
                "The identity proxy sent a header twice. Configure it to drop the headers that clients send."
            )
        email, user = ((values[0] if values else "") for values in (emails, users))
        if not (email or user):
            return None
        # The proxy is trusted, so its email counts as verified.
        return {"sub": user, "name": user, "email": email, "email_verified": True}

    def admit(self, claims: Claims) -> Admin | None:
        """Return the admin with these claims, or None if the allow list does not admit them."""
        return self._allow_list.admit(claims)

    def not_an_admin(self, claims: Claims) -> NotAnAdmin:
        """Log why these claims are not an admin's, and return the problem for the caller."""
        name = claims["email"] or claims["sub"]
        return not_an_admin(self._allow_list.rejection(claims), f"The identity proxy (which signed you in as {name})")

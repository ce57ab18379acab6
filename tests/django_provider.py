"""An OpenID Connect provider made with django-oauth-toolkit. Its arguments are a port, the redirect URI and a folder.

The ID token contains the email, but only the userinfo response says whether the email is verified. The login page signs
in `ada` without a password.
"""

import sys
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import settings

port, redirect_uri, folder = sys.argv[1:]
key = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
settings.configure(
    SECRET_KEY="only for tests",
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(Path(folder) / "db.sqlite3")}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "oauth2_provider"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    OAUTH2_PROVIDER={
        "OIDC_ENABLED": True,
        "OIDC_RSA_PRIVATE_KEY": key.decode(),
        "SCOPES": {"openid": "", "email": "", "profile": ""},
        "OAUTH2_VALIDATOR_CLASS": f"{__name__}.Claims",
    },
    LOGIN_URL="/login",
    USE_TZ=True,
)
django.setup()

from django.contrib.auth import get_user_model, login  # noqa: E402 - Django's modules need the settings
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponseRedirect  # noqa: E402
from django.urls import include, path  # noqa: E402
from oauth2_provider.models import get_application_model  # noqa: E402
from oauth2_provider.oauth2_validators import OAuth2Validator  # noqa: E402


class Claims(OAuth2Validator):
    """The claims about a user."""

    oidc_claim_scope = None

    def get_additional_claims(self, request):
        return {"name": request.user.username, "email": request.user.email}

    def get_userinfo_claims(self, request):
        return {**super().get_userinfo_claims(request), "email": request.user.email, "email_verified": True}


def log_in(request: HttpRequest) -> HttpResponseRedirect:
    """Sign in the user `ada`."""
    login(request, get_user_model().objects.get(username="ada"))
    return HttpResponseRedirect(request.GET["next"])


urlpatterns = [path("login", log_in), path("o/", include("oauth2_provider.urls", namespace="oauth2_provider"))]


class Quiet(WSGIRequestHandler):
    """Logs no requests."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""


call_command("migrate", verbosity=0)
get_user_model().objects.create_user("ada", "ada@example.com")
get_application_model().objects.create(
    client_id="sitelatch",
    client_secret="a client secret with : and %",
    client_type="confidential",
    authorization_grant_type="authorization-code",
    redirect_uris=redirect_uri,
    algorithm="RS256",
)
with make_server("127.0.0.1", int(port), get_wsgi_application(), handler_class=Quiet) as server:
    print("ready", flush=True)  # noqa: T201 - the test waits for this line
    server.serve_forever()

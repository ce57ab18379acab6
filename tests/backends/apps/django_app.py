"""Django, for WSGI and ASGI servers."""

import contextlib
from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.exceptions import DisallowedHost
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from report import ROUTES, one, report

settings.configure(
    ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="a test", USE_X_FORWARDED_HOST=True, APPEND_SLASH=False
)
django.setup()


def _answer(request: HttpRequest, endpoint: str, site: str | None = None) -> HttpResponse:
    reads: list[tuple[str, str, list[Any]]] = [
        ("query", "GET.get", one(request.GET.get("site"))),
        ("query", "GET.getlist", request.GET.getlist("site")),
        ("header", "headers.get", one(request.headers.get("X-Site"))),
        ("header", "META", one(request.META.get("HTTP_X_SITE"))),
    ]
    with contextlib.suppress(DisallowedHost):
        reads.append(("host", "get_host", [request.get_host()]))
    content = report(
        endpoint,
        site,
        request.method or "",
        request.headers.get("X-Request-Id"),
        reads,
        path=request.path_info,
        script=request.META.get("SCRIPT_NAME", ""),
    )
    return HttpResponse(content, content_type="application/json")


def _view(endpoint: str) -> Any:
    def view(request: HttpRequest, site: str | None = None, rest: str = "") -> HttpResponse:
        return _answer(request, endpoint, site)

    return view


urlpatterns = [
    *(path(known[1:], _view(endpoint)) for endpoint, known in ROUTES.items()),
    path("api/sites/<str:site>/<path:rest>", _view("site")),
    path("api/export/<path:rest>", _view("query")),
    path("static/<path:rest>", _view("static")),
    path("", _view("none")),
    path("<path:rest>", _view("none")),
]

wsgi = get_wsgi_application()
asgi = get_asgi_application()

"""The backends from PyPI and npm, and how each of them starts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.backends.place import APPS, VENV, Place, python

_PATH = {"PYTHONPATH": str(APPS), "PYTHONDONTWRITEBYTECODE": "1"}
_OLD_GUNICORN = {**_PATH, "PYTHONPATH": f"{APPS}:{VENV / 'gunicorn20'}", "PYTHONWARNINGS": "ignore"}


@dataclass(frozen=True)
class Backend:
    """A real server with a tiny application."""

    name: str
    start: Callable[[Place], None]
    route: Mapping[str, Any] = field(default_factory=dict)
    """The route options that `docs/backends.md` recommends for this backend."""
    programs: tuple[str, ...] = ()
    """The programs that must be on PATH."""

    def __str__(self) -> str:
        return self.name


def _gunicorn(application: str, env: Mapping[str, str]) -> Callable[[Place], None]:
    def start(place: Place) -> None:
        bind = f"127.0.0.1:{place.port}"
        command = (
            "-m",
            "gunicorn",
            "--bind",
            bind,
            "--worker-class",
            "gthread",
            "--threads",
            "2",
            "--log-level",
            "critical",
            application,
        )
        place.run(*python(*command), env=env)

    return start


def _command(*arguments: str) -> Callable[[Place], None]:
    """Return a function that starts a Python server. `PORT` in the arguments is replaced by the port."""

    def start(place: Place) -> None:
        place.run(*python(*(argument.replace("PORT", str(place.port)) for argument in arguments)), env=_PATH)

    return start


def _node(script: str, *arguments: str) -> Callable[[Place], None]:
    def start(place: Place) -> None:
        place.run("node", APPS / script, str(place.port), *arguments)

    return start


def _uvicorn(application: str, *options: str) -> Callable[[Place], None]:
    return _command(
        "-m", "uvicorn", "--host", "127.0.0.1", "--port", "PORT", "--log-level", "critical", *options, application
    )


QUICK = (
    Backend("gunicorn-flask", _gunicorn("flask_app:application", _PATH)),
    Backend("gunicorn20-wsgi", _gunicorn("wsgi_app:application", _OLD_GUNICORN)),
    Backend("daphne-django", _command("-m", "daphne", "-b", "127.0.0.1", "-p", "PORT", "-v", "0", "django_app:asgi")),
    Backend("waitress-django", _command("-m", "waitress", "--listen=127.0.0.1:PORT", "django_app:wsgi")),
    Backend("uvicorn-starlette", _uvicorn("starlette_app:app", "--proxy-headers")),
    Backend(
        "hypercorn-starlette",
        _command("-m", "hypercorn", "--bind", "127.0.0.1:PORT", "--log-level", "critical", "starlette_app:app"),
    ),
    Backend("aiohttp", _command(str(APPS / "aiohttp_app.py"), "PORT")),
    Backend("http.server", _command(str(APPS / "http_server_app.py"), "PORT")),
    Backend("node", _node("node_app.mjs")),
    Backend("express4", _node("express_app.mjs", "express4")),
    Backend("express5", _node("express_app.mjs", "express5")),
    Backend("waitress-bottle", _command("-m", "waitress", "--listen=127.0.0.1:PORT", "bottle_app:application")),
    Backend(
        "granian-falcon",
        _command(
            "-m",
            "granian",
            "--interface",
            "wsgi",
            "--host",
            "127.0.0.1",
            "--port",
            "PORT",
            "--no-log",
            "falcon_app:application",
        ),
    ),
    Backend("tornado", _command(str(APPS / "tornado_app.py"), "PORT")),
    # If the application does not read a chunked body, CherryPy leaves it in the connection.
    Backend("cherrypy", _command(str(APPS / "cherrypy_app.py"), "PORT"), route={"reuse_after_body": False}),
    Backend("sanic", _command(str(APPS / "sanic_app.py"), "PORT")),
    Backend("fastify", _node("fastify_app.mjs")),
    Backend("koa", _node("koa_app.mjs")),
    Backend("hono", _node("hono_app.mjs")),
    Backend("hapi", _node("hapi_app.mjs")),
    Backend("waitress-pyramid", _command("-m", "waitress", "--listen=127.0.0.1:PORT", "pyramid_app:application")),
    Backend("waitress-webpy", _command("-m", "waitress", "--listen=127.0.0.1:PORT", "webpy_app:application")),
    Backend(
        "waitress-zope",
        _command("-m", "waitress", "--listen=127.0.0.1:PORT", "zope_app:application"),
        route={"form_body": "refuse"},
    ),
    Backend("twisted", _command(str(APPS / "twisted_app.py"), "PORT")),
    Backend("h3", _node("h3_app.mjs")),
    Backend("restify", _node("restify_app.mjs")),
)

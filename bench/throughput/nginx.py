"""nginx as a plain proxy, and with three ways to check keys: a map, Lua, and a subrequest to a service."""

import os
from collections.abc import Sequence
from pathlib import Path

from bench.throughput.candidates import UPSTREAM_CONNECTIONS, Place, module, write_keys

NGINX_MODULES = Path("/usr/lib/nginx/modules")
_MANY = 1_000_000_000


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


def nginx_plain(place: Place, port: int, tls: int) -> list[str]:
    return _nginx_proxy(place, port, tls)


_SITE_MAP = "map $uri $site { default ''; '~^/api/sites/(?<named>[^/]+)/' $named; }\n"
_OTHER_SITE = "if ($arg_site) { return 403; }\nif ($http_x_site) { return 403; }\n"


def nginx_map(place: Place, port: int, tls: int) -> list[str]:
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


def nginx_lua(place: Place, port: int, tls: int) -> list[str]:
    write_keys(place)
    return _nginx_proxy(
        place,
        port,
        tls,
        http="lua_shared_dict keys 64m;\n" + _LUA_FILL % (place.folder / "keys"),
        check=_LUA_CHECK,
        modules=LUA_MODULES,
    )


def nginx_auth_request(place: Place, port: int, tls: int) -> list[str]:
    write_keys(place)
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
    return module("bench.throughput.auth_service", str(socket), str(place.folder / "keys"), *command)

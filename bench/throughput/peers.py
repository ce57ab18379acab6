"""Sitelatch and the software it is compared with.

All forward to the same upstream over keep-alive connections, write no access log (unless their name says so), and use
one core. Every one that can check keys has the same keys, and every one that can compares the site in the path, in the
query and in the header X-Site with the key's.
"""

from bench.throughput.candidates import UPSTREAM_CONNECTIONS, Candidate, Command, Place, module, write_keys
from bench.throughput.nginx import nginx_auth_request, nginx_lua, nginx_map, nginx_plain
from bench.throughput.other_proxies import caddy, envoy, haproxy


def _naive(place: Place, port: int, tls: int) -> list[str]:
    write_keys(place)
    return module("bench.throughput.naive", str(port), f"http://127.0.0.1:{place.upstream}", str(place.folder / "keys"))


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
        return module("sitelatch", "serve", "--config", str(config))

    return command


SITELATCH = Candidate("Sitelatch", "key and site", _sitelatch("off"))
SITELATCH_LOGGING = Candidate("Sitelatch, access log on", "key and site", _sitelatch("all"))
SITELATCH_HTTPS = Candidate("Sitelatch, HTTPS", "key and site", _sitelatch("off", https=True), only_tls=True)
NGINX = Candidate("nginx", "nothing", nginx_plain)
NGINX_LUA = Candidate("nginx + Lua shared dict", "key and site", nginx_lua)
NAIVE = Candidate("naive aiohttp proxy", "key", _naive)
ENVOY = Candidate("Envoy api_key_auth", "key", envoy)
HAPROXY = Candidate("HAProxy map", "key and site", haproxy)
ALL = (
    NGINX,
    Candidate("nginx map", "key and site", nginx_map),
    NGINX_LUA,
    Candidate("nginx auth_request", "key and site, in an aiohttp service", nginx_auth_request),
    ENVOY,
    HAPROXY,
    Candidate("Caddy", "presence of a key", caddy),
    NAIVE,
    SITELATCH,
    SITELATCH_LOGGING,
)

"""`sitelatch healthcheck`, for containers without curl."""

import http.client
import socket
from typing import Final

import click

from proxy.relay.listeners import UnixListen, parse_listen
from sitelatch.commands.options import config_option
from sitelatch.config import Config
from sitelatch.failures import HealthcheckFailed

_SECONDS: Final = 3.0
_LOOPBACK: Final = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - addresses to connect to, not to listen on


@click.command("healthcheck", short_help="Ask a running `serve` whether it is healthy.")
@config_option
@click.option("--live", is_flag=True, help="Ask /livez instead of /readyz, which says only whether the process runs.")
def healthcheck_command(config: Config, live: bool) -> None:
    """Ask a running `serve` whether it is healthy.

    Sends GET /readyz to `ops.listen`, and exits with 1 unless the answer is 200 within 3 seconds. For container health
    checks. Run it with the config and the environment of `serve`.
    """
    path = "/livez" if live else "/readyz"
    try:
        status, body = _get(config.ops.listen, path)
    except (OSError, http.client.HTTPException) as error:
        raise HealthcheckFailed(
            f"{path} at {config.ops.listen}: {getattr(error, 'strerror', None) or str(error) or type(error).__name__}"
        ) from None
    if status != http.client.OK:
        raise HealthcheckFailed(f"{path} at {config.ops.listen} answered {status}: {body}")
    click.echo(body)


def _get(listen: str, path: str) -> tuple[int, str]:
    """Return the status and the body of a response from this address."""
    connection = http.client.HTTPConnection("localhost", timeout=_SECONDS)
    connection.sock = _connect(listen)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(1000).decode(errors="replace").strip()
    finally:
        connection.close()


def _connect(listen: str) -> socket.socket:
    where = parse_listen(listen)
    if not isinstance(where, UnixListen):
        return socket.create_connection((_LOOPBACK.get(where.host, where.host), where.port), _SECONDS)
    connected = socket.socket(socket.AF_UNIX)
    connected.settimeout(_SECONDS)
    connected.connect(where.path)
    return connected

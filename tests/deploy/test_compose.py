"""deploy/compose.yml: valid, and consistent with the config, the command and the Dockerfile."""

import os
import re
import subprocess
from typing import Any

import click
import pytest
import yaml

from sitelatch.command import cli
from sitelatch.config import Config
from sitelatch.config_file import load
from tests.deploy.folder import DEPLOY, ROOT

pytestmark = pytest.mark.deploy

COMPOSE = DEPLOY / "compose.yml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
CONFIG_PATH = "/etc/sitelatch/sitelatch.toml"
PASSWORD = "a-password"


@pytest.fixture(scope="module")
def config() -> Config:
    """The config as the container reads it."""
    [mount] = SERVICES["sitelatch"]["volumes"]
    file, path, mode = mount.split(":")
    assert (path, mode) == (CONFIG_PATH, "ro")
    environ = {
        name: value.replace("${POSTGRES_PASSWORD}", PASSWORD)
        for name, value in SERVICES["sitelatch"]["environment"].items()
    }
    return load(DEPLOY / file, environ)


def test_compose_accepts_the_file_only_with_a_password() -> None:
    command = ["docker-compose", "--file", str(COMPOSE), "config", "--quiet"]
    environ = {name: value for name, value in os.environ.items() if name != "POSTGRES_PASSWORD"}
    valid = subprocess.run(command, env={**environ, "POSTGRES_PASSWORD": PASSWORD}, capture_output=True, text=True)
    assert (valid.returncode, valid.stdout, valid.stderr) == (0, "", "")
    refused = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "Write POSTGRES_PASSWORD=… into deploy/.env" in refused.stderr


@pytest.mark.parametrize("name", ["migrate", "sitelatch"])
def test_every_command_of_the_image_exists(name: str) -> None:
    service = SERVICES[name]
    commands = [service["command"]] if "command" in service else [["serve", "--config", CONFIG_PATH]]
    if "healthcheck" in service:
        kind, program, *words = service["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "sitelatch")
        commands.append(words)
    for verb, *options in commands:
        command = cli.commands[verb]
        assert options == ["--config", CONFIG_PATH]
        assert "--config" in {option for parameter in command.params for option in parameter.opts}
        assert not isinstance(command, click.Group)


def test_the_default_command_of_the_image_is_the_one_that_the_services_assume() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f'CMD ["serve", "--config", "{CONFIG_PATH}"]' in dockerfile
    assert 'ENTRYPOINT ["sitelatch"]' in dockerfile


def test_the_published_ports_are_the_listeners_and_only_on_loopback(config: Config) -> None:
    published = {tuple(port.rsplit(":", 1)) for port in SERVICES["sitelatch"]["ports"]}
    listeners = [config.proxy.listen, config.ops.listen, config.admin.listen]
    assert published == {(f"127.0.0.1:{listen.rpartition(':')[2]}", listen.rpartition(":")[2]) for listen in listeners}
    # Loopback addresses of a container cannot be reached from outside.
    assert {listen.rpartition(":")[0] for listen in listeners} == {"0.0.0.0"}


def test_the_upstream_and_the_database_are_services(config: Config) -> None:
    [route] = config.proxy.routes
    host, _, port = route.upstream.removeprefix("http://").partition(":")
    assert SERVICES[host]["entrypoint"][-1].endswith(f":{port}")
    assert config.database.url == f"postgresql://sitelatch:{PASSWORD}@database/sitelatch"
    assert "database" in SERVICES


def test_the_container_is_stopped_only_after_the_drain(config: Config) -> None:
    seconds = int(re.fullmatch(r"(\d+)s", SERVICES["sitelatch"]["stop_grace_period"])[1])  # type: ignore[index]
    assert seconds > config.drain.delay_seconds + config.drain.timeout_seconds


def test_no_service_of_sitelatch_can_write_or_gain_privileges() -> None:
    for name in ("api", "migrate", "sitelatch"):
        assert SERVICES[name]["read_only"] is True
        assert SERVICES[name]["cap_drop"] == ["ALL"]
        assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]

"""The options of listeners: unix sockets and their access, and what `check-config` says about them."""

from pathlib import Path

import pytest

from sitelatch.config import Config
from sitelatch.config_checks import check_files
from sitelatch.config_file import load
from sitelatch.config_source import ConfigError
from sitelatch.config_warnings import warnings

ROUTE = '[[proxy.routes]]\nname = "data"\nupstream = "http://127.0.0.1:1"\nsites = ["path:/{site}/**"]\n'
PROXY = '[admin.identity_proxy]\naddresses = ["unix"]\n[[admin.identity_proxy.allow]]\nusers = ["ada"]\n'


def loaded(directory: Path, text: str, environ: dict[str, str] | None = None) -> Config:
    file = directory / "sitelatch.toml"
    file.write_text(f"{text}\n{ROUTE}")
    return load(file, environ or {})


@pytest.mark.parametrize("table", ["proxy", "ops", "admin"])
def test_every_listener_has_a_mode_and_a_group(tmp_path: Path, table: str) -> None:
    text = f'[{table}]\nlisten = "unix:/run/x.sock"\nsocket_mode = "0660"\nsocket_group = "www-data"'
    settings = getattr(loaded(tmp_path, text), table)
    assert (settings.socket_mode, settings.socket_group) == (0o660, "www-data")


@pytest.mark.parametrize(
    ("line", "mode", "group"),
    [
        ('socket_mode = "660"', 0o660, None),
        ('socket_mode = "0600"', 0o600, None),
        ("socket_group = 33", None, "33"),
        ('socket_group = "33"', None, "33"),
        ("", None, None),
    ],
)
def test_modes_are_octal_and_groups_are_names_or_ids(
    tmp_path: Path, line: str, mode: int | None, group: str | None
) -> None:
    settings = loaded(tmp_path, f'[ops]\nlisten = "unix:/run/x.sock"\n{line}').ops
    assert (settings.socket_mode, settings.socket_group) == (mode, group)


def test_the_environment_sets_modes_and_groups(tmp_path: Path) -> None:
    environ = {"SITELATCH_OPS__SOCKET_MODE": "0660", "SITELATCH_OPS__SOCKET_GROUP": "33"}
    settings = loaded(tmp_path, '[ops]\nlisten = "unix:/run/x.sock"', environ).ops
    assert (settings.socket_mode, settings.socket_group) == (0o660, "33")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *(
            (f'[proxy]\nlisten = "unix:/x"\nsocket_mode = {mode}', "[proxy] socket_mode: must be three octal digits")
            for mode in ("660", "0o660", '"rw"', '"0888"', '"4755"', '"04755"', '"+660"', '""', "true", '"0660 "')
        ),
        *(
            (f'[proxy]\nlisten = "unix:/x"\nsocket_group = {group}', "[proxy] socket_group: must be the name or the id")
            for group in ("-1", '""', "true", "1.5", "[]", "4294967295", '"4294967295"', f'"{"9" * 5000}"')
        ),
        ('[proxy]\nsocket_mode = "0660"', "[proxy] socket_mode: is for unix sockets only."),
        ('[admin]\nlisten = "[::]:9091"\nsocket_group = "adm"', "[admin] socket_group: is for unix sockets only."),
        (
            '[ops]\nlisten = "unix:/x"\nsocket_mode = "0660"\n[admin]\nlisten = "unix:/x"',
            "[ops] socket_mode: must be the same as in [admin]",
        ),
        (
            f'[admin]\nlisten = "unix:/x"\nsocket_mode = "0666"\n{PROXY}',
            "[admin] socket_mode: lets every user of this machine connect, and [admin.identity_proxy] trusts",
        ),
        ('[proxy]\nlisten = ":8080"', '"*:8080" is every IPv4 and IPv6 address'),
    ],
)
def test_the_error_names_the_listener_and_the_option(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    [complaint] = caught.value.complaints
    assert message in complaint


def test_an_unknown_group_is_reported_before_the_start(tmp_path: Path) -> None:
    config = loaded(tmp_path, '[ops]\nlisten = "unix:/run/x.sock"\nsocket_group = "no-such-group"')
    with pytest.raises(ConfigError) as caught:
        check_files(config)
    [complaint] = caught.value.complaints
    assert complaint.endswith(
        ":3: [ops] socket_group: there is no group 'no-such-group' on this machine.",
    )


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ('[proxy]\nlisten = "[::]:8080"', '[proxy] listen: "[::]:8080" accepts IPv6 clients only.'),
        ('[admin]\nlisten = "[::]:9091"', 'write "*:9091".'),
        ('[ops]\nlisten = "[0:0::0]:9090"', 'write "*:9090".'),
        (
            '[proxy]\nlisten = "unix:/x"\nsocket_mode = "0666"\ntrusted_proxies = ["unix"]',
            "[proxy] socket_mode: lets every user of this machine connect, and trusted_proxies",
        ),
    ],
)
def test_a_listener_that_is_probably_a_mistake_has_a_warning(tmp_path: Path, text: str, warning: str) -> None:
    config = loaded(tmp_path, text)
    [found] = config.source.complaints(warnings(config))
    assert warning in found


@pytest.mark.parametrize(
    "text",
    [
        '[proxy]\nlisten = "*:8080"',
        '[proxy]\nlisten = "[::1]:8080"',
        '[proxy]\nlisten = "unix:/x"\nsocket_mode = "0666"',
        '[proxy]\nlisten = "unix:/x"\nsocket_group = "www-data"\ntrusted_proxies = ["unix"]',
    ],
)
def test_a_usual_listener_has_no_warning(tmp_path: Path, text: str) -> None:
    assert warnings(loaded(tmp_path, text)) == []

"""TLS contexts from PEM files."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from proxy.relay.tls_files import client_context, client_files, server_context
from proxy.settings import TlsListenSettings, UpstreamTlsSettings
from tests.acceptance.certificates import Authority


def test_an_encrypted_key_is_an_error_and_does_not_prompt(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    pair = authority.pair("localhost")
    key = serialization.load_pem_private_key(Path(pair.key).read_bytes(), None)
    Path(pair.key).write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
    )
    with pytest.raises(OSError, match="the private key is encrypted"):
        server_context(TlsListenSettings(certificate=pair.certificate, key=pair.key))
    with pytest.raises(OSError, match="the private key is encrypted"):
        client_context(UpstreamTlsSettings(certificate=pair.certificate, key=pair.key))


def cut(file: str) -> None:
    text = Path(file).read_text()
    Path(file).write_text(text[: len(text) // 2])


def remove(file: str) -> None:
    Path(file).unlink()


def replace_with_directory(file: str) -> None:
    Path(file).unlink()
    Path(file).mkdir()


def damage(file: str) -> None:
    lines = Path(file).read_text().splitlines()
    lines[2] = lines[2][::-1]
    Path(file).write_text("\n".join(lines))


@pytest.mark.parametrize("which", ["certificate", "key"])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (cut, "is damaged or cut off"),
        (damage, "is damaged or cut off"),
        (remove, "No such file or directory"),
        (replace_with_directory, "Is a directory"),
    ],
)
def test_the_error_names_the_file_that_cannot_be_used(
    tmp_path: Path, which: str, fault: Callable[[str], None], reason: str
) -> None:
    authority = Authority(tmp_path, "authority")
    pair = authority.pair("localhost")
    file = getattr(pair, which)
    fault(file)
    with pytest.raises(OSError, match=rf".*{re.escape(file)}: .*{reason}"):
        server_context(TlsListenSettings(certificate=pair.certificate, key=pair.key))
    with pytest.raises(OSError, match=rf".*{re.escape(file)}: .*{reason}"):
        client_context(UpstreamTlsSettings(certificate=pair.certificate, key=pair.key))
    fault(authority.file)
    with pytest.raises(OSError, match=rf".*{re.escape(authority.file)}: .*{reason}"):
        client_context(UpstreamTlsSettings(ca=authority.file))


def test_an_upstream_without_authorities_of_its_own_uses_those_of_the_system() -> None:
    own = UpstreamTlsSettings(ca="ca", certificate="crt", key="key")
    assert client_files(own) == ("ca", "crt", "key")
    system = client_files(None)
    assert client_files(UpstreamTlsSettings(certificate="crt", key="key")) == ("crt", "key", *system)

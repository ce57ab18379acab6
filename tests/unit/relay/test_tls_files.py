"""TLS contexts from PEM files."""

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


def test_an_upstream_without_authorities_of_its_own_uses_those_of_the_system() -> None:
    own = UpstreamTlsSettings(ca="ca", certificate="crt", key="key")
    assert client_files(own) == ("ca", "crt", "key")
    system = client_files(None)
    assert client_files(UpstreamTlsSettings(certificate="crt", key="key")) == ("crt", "key", *system)

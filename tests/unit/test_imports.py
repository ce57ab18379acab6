"""Imports: commands start quickly and take little memory, because they do not import what they do not need."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["sitelatch.command", "sitelatch.commands.users", "sitelatch.commands.sites"])
def test_a_command_that_only_uses_the_database_does_not_import_aiohttp(module: str) -> None:
    program = f"import sys, {module}; print('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"False\n"


def test_serve_imports_no_cryptography_unless_it_verifies_tokens_or_stores_recoverable_keys() -> None:
    program = (
        "import sys, sitelatch.serve, sitelatch.commands.service\n"
        "from admin.key_encryption import key_cipher\n"
        "from admin.identity.provider import identity_provider\n"
        "assert key_cipher(None) is identity_provider(None, None) is None\n"
        "print('cryptography' in sys.modules, 'joserfc' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"False False\n"

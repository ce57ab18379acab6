"""Imports: commands start quickly, because they do not import what they do not need."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["sitelatch.command", "sitelatch.commands.users", "sitelatch.commands.sites"])
def test_a_command_that_only_uses_the_database_does_not_import_aiohttp(module: str) -> None:
    program = f"import sys, {module}; print('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"False\n"

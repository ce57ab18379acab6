"""Versions of Python whose regular expressions would let requests for other sites pass (python/cpython#106052)."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRETEND = "import re, runpy; re.fullmatch = lambda *_: True; runpy.run_module('sitelatch', run_name='__main__')"


def broken_pythons() -> Iterator[str]:
    """Yield the installed interpreters with the bug."""
    for name in ("python3", "python3.11", "/usr/bin/python3", "/usr/bin/python3.11"):
        if path := shutil.which(name):
            has_bug = "import re, sys; sys.exit(sys.version_info < (3, 11) or not re.fullmatch('(?:ab?c)*+', 'a'))"
            if subprocess.run([path, "-c", has_bug], capture_output=True).returncode == 0:
                yield path


@pytest.mark.parametrize(
    "command", [[sys.executable, "-c", PRETEND], *([path, "-m", "sitelatch"] for path in broken_pythons())]
)
def test_the_command_refuses_a_python_whose_regular_expressions_are_wrong(command: list[str]) -> None:
    done = subprocess.run([*command, "--version"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Sitelatch needs Python 3.11.5 or later. This is Python 3.")


def test_the_package_requires_a_python_with_correct_regular_expressions() -> None:
    assert 'requires-python = ">=3.11.5"' in (ROOT / "pyproject.toml").read_text()
    assert not re.fullmatch("(?:ab?c)*+", "a")

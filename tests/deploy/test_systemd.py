"""deploy/systemd/sitelatch.service: valid, hardened, and with enough time for a graceful stop."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.settings import DrainSettings
from tests.deploy.folder import DEPLOY

pytestmark = pytest.mark.deploy

UNIT = DEPLOY / "systemd" / "sitelatch.service"
MOST_EXPOSURE = 15
"""The highest exposure level that `systemd-analyze security` may report, in tenths. 1.0 to 2.0 is its best grade."""


def analyze(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True)


def test_the_unit_is_valid(tmp_path: Path) -> None:
    # The program of the unit is not installed here, so another program stands in for it.
    text = UNIT.read_text().replace("/opt/sitelatch/bin/sitelatch", sys.executable)
    (tmp_path / UNIT.name).write_text(text)
    done = analyze("verify", str(tmp_path / UNIT.name))
    assert done.returncode == 0
    assert UNIT.name not in done.stderr, done.stderr  # other units of the machine may have faults


def test_the_unit_is_hardened() -> None:
    done = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSURE}", str(UNIT))
    assert done.returncode == 0, done.stdout


def test_systemd_waits_for_the_drain() -> None:
    seconds = int(re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)[1])  # type: ignore[index]
    drain = DrainSettings()
    assert seconds > drain.delay_seconds + drain.timeout_seconds

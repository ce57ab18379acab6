"""The command as a shell runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SECONDS = 120.0
"""How long the slowest machine may take for a command."""


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.err.splitlines()]


def sitelatch(*words: str, stdin: str = "", environ: Mapping[str, str] | None = None) -> Done:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SITELATCH_")}
    done = subprocess.run(
        [sys.executable, "-m", "sitelatch", *words],
        cwd=ROOT,
        env=clean | dict(environ or {}),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    return Done(done.returncode, done.stdout, done.stderr)

"""npm packages for the tests (package.json in this directory), installed when they are first needed."""

import fcntl
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent


def package(name: str) -> Path:
    """Return the directory of an npm package."""
    folder = FOLDER / "node_modules" / name
    # Several pytest workers may get here at the same time.
    with (FOLDER / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "package.json").is_file():
            assert shutil.which("npm"), "These tests need npm: run apt-get install npm, or add npm to PATH."
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(command, cwd=FOLDER, check=True, timeout=300)
    return folder

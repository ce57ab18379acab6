"""What the tests take from npm (package.json beside this file), brought the first time that it is needed."""

import fcntl
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent


def package(name: str) -> Path:
    """Return the folder of an npm package."""
    folder = FOLDER / "node_modules" / name
    # Several of pytest's workers may come here at once.
    with (FOLDER / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "package.json").is_file():
            assert shutil.which("npm"), "These tests need npm: apt-get install npm, or have it on PATH."
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(command, cwd=FOLDER, check=True, timeout=300)
    return folder

"""The `sitelatch doctor` command: its exit codes, its JSON, and what the limits of its process show."""

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.acceptance.shell import ROOT, SECONDS, sitelatch
from tests.acceptance.wire import listening_socket, port_of
from tests.ports import free_port


def config(folder: Path, database_url: str, port: int) -> str:
    file = folder / "sitelatch.toml"
    route = f'name = "data"\nupstream = "http://127.0.0.1:{port}"\nsites = ["path:/api/sites/{{site}}/**"]\n'
    file.write_text(f'[[proxy.routes]]\n{route}[database]\nurl = "{database_url}"\n')
    return str(file)


def test_warnings_exit_with_0_and_problems_with_1(tmp_path: Path, database_url: str) -> None:
    with closing(listening_socket()) as upstream:
        done = sitelatch("doctor", "--config", config(tmp_path, database_url, port_of(upstream)))
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("0 problems, 2 warnings.\n")
    assert "warning  roles: database.url" in done.out

    done = sitelatch("doctor", "--json", "--config", config(tmp_path, database_url, free_port()))
    assert (done.code, done.err) == (1, "")
    [problem] = [finding for finding in json.loads(done.out) if finding["status"] == "problem"]
    assert problem["check"] == "upstream"
    assert "Start the API, or correct `upstream`." in problem["message"]


def test_a_config_with_errors_is_not_examined(tmp_path: Path) -> None:
    (tmp_path / "sitelatch.toml").write_text("[[proxy.routes]]\n")
    done = sitelatch("doctor", "--config", str(tmp_path / "sitelatch.toml"))
    assert (done.code, done.out) == (2, "")
    assert {line["event"] for line in done.log} == {"bad_config"}


def test_a_low_limit_of_open_files_is_found(tmp_path: Path, database_url: str) -> None:
    command = f"ulimit -n 200 && exec {sys.executable} -m sitelatch doctor --config "
    done = subprocess.run(
        ["bash", "-c", command + config(tmp_path, database_url, free_port())],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert "warning  open-files: a process started from here may open 200 files, but may need " in done.stdout

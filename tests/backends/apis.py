"""Real data APIs with the sites `shop` and `blog`. The only data of each site is its own name."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from tests.ports import free_port

START_SECONDS = 60.0
SITES = ("shop", "blog")


@contextlib.contextmanager
def _running(folder: Path, port: int, path: str, *command: str | Path) -> Iterator[httpx.Client]:
    """Run a server, wait until it answers on `path`, and yield a client for it."""
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command], cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    deadline = time.monotonic() + START_SECONDS
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            while True:
                try:
                    client.get(path).raise_for_status()
                    break
                except httpx.HTTPError:
                    assert process.poll() is None, (folder / "output.log").read_text()[-4000:]
                    assert time.monotonic() < deadline, f"{command[0]} does not respond"
                    time.sleep(0.1)
            yield client
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def influxdb(folder: Path) -> Iterator[httpx.Client]:
    """Run InfluxDB 1 from Debian with a database for each site, which contains one point."""
    port = free_port()
    (folder / "influxdb.conf").write_text(
        f'reporting-disabled = true\nbind-address = "127.0.0.1:{free_port()}"\n'
        f'[meta]\ndir = "{folder}/meta"\n[data]\ndir = "{folder}/data"\nwal-dir = "{folder}/wal"\n'
        f'[http]\nbind-address = "127.0.0.1:{port}"\n[monitor]\nstore-enabled = false\n'
    )
    with _running(folder, port, "/ping", "influxd", "run", "-config", "influxdb.conf") as client:
        for site in SITES:
            client.post("/query", data={"q": f"CREATE DATABASE {site}"}).raise_for_status()
            client.post(f"/write?db={site}", content=f'cpu of="{site}"').raise_for_status()
        yield client


@contextlib.contextmanager
def prometheus(folder: Path) -> Iterator[httpx.Client]:
    """Run Prometheus from Debian for the site `shop`. It scrapes itself below its path prefix."""
    port = free_port()
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: self\n  metrics_path: /shop/metrics\n"
        f'  static_configs: [{{targets: ["127.0.0.1:{port}"], labels: {{site: shop}}}}]\n'
    )
    options = (
        "--config.file=prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.route-prefix=/shop",
    )
    with _running(folder, port, "/shop/-/ready", "prometheus", *options) as client:
        yield client


@contextlib.contextmanager
def datasette(folder: Path) -> Iterator[httpx.Client]:
    """Run Datasette with --crossdb and a database for each site, which contains the table `t`."""
    port = free_port()
    for site in SITES:
        with contextlib.closing(sqlite3.connect(folder / f"{site}.db")) as database:
            database.execute("CREATE TABLE t (of TEXT)")
            database.execute("INSERT INTO t VALUES (?)", (site,))
            database.commit()
    files = [f"{site}.db" for site in SITES]
    command = (sys.executable, "-m", "datasette", "serve", *files, "--crossdb", "-p", str(port))
    with _running(folder, port, "/-/versions.json", *command) as client:
        yield client


@contextlib.contextmanager
def moto(folder: Path) -> Iterator[httpx.Client]:
    """Run moto's S3 server with one bucket for each site. Each bucket contains the file secret.txt."""
    port = free_port()
    program = Path(os.environ.get("MOTO_SERVER", Path(__file__).parent / ".venv" / "bin" / "moto_server"))
    with _running(folder, port, "/moto-api/data.json", program, "-H", "127.0.0.1", "-p", str(port)) as client:
        client.headers["Authorization"] = SIGNED
        for site in SITES:
            client.put(f"/{site}").raise_for_status()
            client.put(f"/{site}/secret.txt", content=site).raise_for_status()
        yield client


SIGNED = "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"
"""Moto needs a signature to recognize requests for S3, but does not verify it."""

APIS: dict[str, Callable[[Path], contextlib.AbstractContextManager[httpx.Client]]] = {
    "influx-write": influxdb,
    "prometheus-shop": prometheus,
    "datasette": datasette,
    "s3": moto,
}
"""The APIs by the names of their routes in docs/backends-apis.md."""

"""The alert rules and the dashboard: valid, tested, and about metrics and outcomes that exist."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from proxy import refusals
from proxy.observe.metrics import Metrics
from proxy.refusals import Refusal
from tests.deploy.folder import DEPLOY, ROOT

pytestmark = pytest.mark.deploy

RULES = DEPLOY / "prometheus" / "alerts.yml"
ALERTS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "sitelatch.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]] + [alert["expr"] for alert in ALERTS]


def promtool(*words: str, folder: Path = RULES.parent) -> str:
    done = subprocess.run(["promtool", *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_alert_rules_are_valid_and_pass_their_tests() -> None:
    promtool("check", "rules", RULES.name)
    promtool("test", "rules", "alerts_test.yml")


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    tests = yaml.safe_load((RULES.parent / "alerts_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")}
    assert fired == {alert["alert"] for alert in ALERTS}


def test_every_query_of_the_dashboard_is_valid(tmp_path: Path) -> None:
    queries = [
        target["expr"].replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*")
        for panel in PANELS
        for target in panel["targets"]
    ]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    promtool("check", "rules", "rules.yml", folder=tmp_path)


def test_every_metric_that_is_used_exists() -> None:
    metrics = Metrics()
    real = {
        sample for name in documented_metrics() for sample in (name, f"{name}_bucket", f"{name}_sum", f"{name}_count")
    }
    real |= {family.name for family in text_string_to_metric_families(metrics.render().decode())} | {"up"}
    for expression in EXPRESSIONS:
        without_labels = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", expression)
        used = set(re.findall(r"\b(?:sitelatch|process)_\w+", without_labels))
        assert used <= real, expression


def documented_metrics() -> set[str]:
    """Return the metrics in docs/metrics.md, which the unit tests compare with the real ones."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    return set(re.findall(r"`((?:sitelatch|process)_\w+)`", text))


def test_every_outcome_that_is_used_exists() -> None:
    codes = {refusal.code for refusal in vars(refusals).values() if isinstance(refusal, Refusal)}
    outcomes = codes | {"passed", "preflight_answered", "cut_short", "revoked", "client_left"}
    patterns = [pattern for text in EXPRESSIONS for pattern in re.findall(r'outcome=~?"([^"]+)"', text)]
    assert patterns
    for pattern in patterns:
        for part in pattern.split("|"):
            assert any(re.fullmatch(part, outcome) for outcome in outcomes), part


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_fits_into_the_grid_and_filters_by_instance(panel: dict[str, Any]) -> None:
    place = panel["gridPos"]
    assert place["x"] + place["w"] <= 24
    for target in panel["targets"]:
        assert target["expr"].count("instance=~") == len(re.findall(r"\b(?:sitelatch|process)_\w+\{", target["expr"]))


def test_no_two_panels_overlap() -> None:
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))


def test_the_documents_explain_every_alert() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    assert set(re.findall(r"^\| `(Sitelatch\w+)` \|", page, re.MULTILINE)) == {alert["alert"] for alert in ALERTS}

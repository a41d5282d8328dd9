"""What deploy/monitoring watches is what the service tells, every alert has its page, and promtool agrees."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from serving.api import PREFIX
from serving.app import paths
from serving.telemetry.metrics import Metrics
from tests.deploy.prometheus import MONITORING, Selector, grouped, rules, selectors, tool

DASHBOARDS = sorted((MONITORING / "grafana" / "dashboards").glob("*.json"))
SEVERITIES = {"page", "ticket"}
OF_PROMETHEUS = {"job", "instance"}
JUDGING = {f"{PREFIX}/{route}" for route in ("analyze", "batch", "stream", "explain")} | {"/predict"}
ALERTS = [rule for rule in rules() if "alert" in rule]
RECORDED = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}


def told() -> dict[str, dict[str, set[str]]]:
    """By name of a series: its labels, each with the values that occur once everything was told."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for route in paths() | {"/predict", "other"}:
        for status in (200, 400, 404, 422, 499, 500, 503, 504):
            metrics.request(route, status, 0.1)
    metrics.answered_by("m:1", 1)
    metrics.serving("m:1", "1", "onnxruntime-cpu", "int8")
    found: dict[str, dict[str, set[str]]] = {"up": {}}
    for family in registry.collect():
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return found


TOLD = told()


def queries() -> list[tuple[str, str]]:
    """Every expression there is, and where."""
    panels = [(file.stem, panel) for file in DASHBOARDS for panel in json.loads(file.read_text("utf-8"))["panels"]]
    shown = [(f"{name}: {panel['title']}", target["expr"]) for name, panel in panels for target in panel["targets"]]
    return shown + [(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]


def test_an_expression_is_taken_apart() -> None:
    found = selectors(
        'sum by (job, le) (rate(a_total{x=~"(1|2)", y!="}"}[5m])) / on (job) b:c > 5e3 and on () vector(0)'
    )
    assert found == [Selector("a_total", (("x", "=~", "(1|2)"), ("y", "!=", "}"))), Selector("b:c")]
    assert str(found[0]) == 'a_total{x=~"(1|2)", y!="}"}'
    assert grouped("sum by (job, le) (a) / on (z) group_left () b") == {"job", "le", "z"}


@pytest.mark.parametrize(("where", "expression"), queries(), ids=[where for where, _ in queries()])
def test_every_series_and_label_exists(where: str, expression: str) -> None:
    expression = expression.replace("$__rate_interval", "1m")
    assert "$" not in expression, "nobody fills that in"
    read = selectors(expression)
    assert read
    known: set[str] = set(OF_PROMETHEUS)
    for selector in read:
        assert selector.metric in TOLD or selector.metric in RECORDED, f"nobody tells {selector.metric}"
        labels = TOLD.get(selector.metric)
        if labels is None:
            known |= grouped(RECORDED[selector.metric])
            assert {name for name, _, _ in selector.matchers} <= known
            continue
        known |= labels.keys()
        for name, how, value in selector.matchers:
            assert name in labels.keys() | OF_PROMETHEUS, f"{selector.metric} has no {name}"
            if name in labels and how in ("=", "=~"):
                pattern = value if how == "=~" else re.escape(value)
                assert any(re.fullmatch(pattern, each) for each in labels[name]), f"no {name} is {value}"
    assert grouped(expression) <= known


def test_shares_are_of_the_routes_that_judge() -> None:
    """And of no others, so that pages and probes do not water them down."""
    expression = RECORDED["job:sentiment_requests:rate5m"]
    (selector,) = selectors(expression)
    ((_, _, pattern),) = selector.matchers
    routes = TOLD["sentiment_requests_total"]["route"]
    assert {route for route in routes if re.fullmatch(pattern, route)} == JUDGING
    for name in ("failed", "refused"):
        assert f'route=~"{pattern}"' in RECORDED[f"job:sentiment_requests_{name}:ratio_rate5m"]


def test_all_that_is_recorded_is_named_after_its_level_and_read_somewhere() -> None:
    read = {selector.metric for _, expression in queries() for selector in selectors(expression)}
    for name in RECORDED:
        assert re.fullmatch(r"[a-z_]+:sentiment_[a-z_]+:[a-z0-9_]+", name)
    assert set(RECORDED) <= read


@pytest.mark.parametrize("alert", ALERTS, ids=[rule["alert"] for rule in ALERTS])
def test_every_alert_says_what_to_do(alert: dict[str, Any], root: Path) -> None:
    assert alert["labels"]["severity"] in SEVERITIES
    notes = alert["annotations"]
    for name in ("summary", "description"):
        korean, _, english = notes[name].partition(" / ")
        assert re.search("[가-힣]", korean)
        assert english
        assert not re.search("[가-힣]", english)
    assert notes["runbook_url"] == f"docs/runbook.md#{alert['alert'].lower()}"
    runbook = (root / "docs" / "runbook.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (\w+)$", runbook, flags=re.MULTILINE)
    entries = dict(zip(parts[1::2], parts[2::2], strict=True))
    entry = entries[alert["alert"]]
    assert entry.strip().startswith(alert["labels"]["severity"])
    for word in ("**뜻:**", "**확인:**", "**조치:**", "**오경보:**", "**Means**", "**Do", "**False alarm:**"):
        assert word in entry
    assert entries.keys() == {rule["alert"] for rule in ALERTS}, "an entry without its alert"


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    cases = yaml.safe_load((MONITORING / "rules_test.yaml").read_text(encoding="utf-8"))["tests"]
    checks = [check for case in cases for check in case["alert_rule_test"]]
    names = {rule["alert"] for rule in ALERTS}
    assert {check["alertname"] for check in checks if check["exp_alerts"]} == names
    assert {check["alertname"] for check in checks if not check["exp_alerts"]} == names


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yaml"),
        ("check", "rules", "recording.yaml", "rules.yaml"),
        ("test", "rules", "rules_test.yaml"),
    ],
    ids=" ".join,
)
def test_promtool(arguments: tuple[str, ...]) -> None:
    """Fails where there is no promtool: unseen rules are no rules."""
    done = subprocess.run([tool("promtool"), *arguments], cwd=MONITORING, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_the_tools_it_is_told_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match=r"promtool is not there; .* apt-get install prometheus"):
        tool("promtool")


def test_four_dashboards_with_what_a_reader_needs() -> None:
    assert [file.stem for file in DASHBOARDS] == ["cache", "model", "rollout", "service"]
    seen = set()
    for file in DASHBOARDS:
        content = json.loads(file.read_text(encoding="utf-8"))
        seen.add(content["uid"])
        (variable,) = content["templating"]["list"]
        assert (variable["name"], variable["type"]) == ("datasource", "datasource")
        assert content["schemaVersion"] >= 39
        assert len({panel["id"] for panel in content["panels"]}) == len(content["panels"])
        taken: set[tuple[int, int]] = set()
        for panel in content["panels"]:
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["title"]
            assert re.search("[가-힣].* / .*[a-z]", panel["description"])
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken
            assert max(x for x, _ in cells) < 24
            taken |= cells
    assert len(seen) == len(DASHBOARDS)


def test_provisioning_and_scrapes_speak_of_the_same_interval() -> None:
    (source,) = yaml.safe_load((MONITORING / "grafana/provisioning/datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    scraped = yaml.safe_load((MONITORING / "prometheus.yaml").read_text(encoding="utf-8"))
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]
    (provider,) = yaml.safe_load((MONITORING / "grafana/provisioning/dashboards/sentiment.yaml").read_text())[
        "providers"
    ]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"

"""A real Prometheus of a test's own, with the rules of ``deploy/monitoring``; and what its expressions name."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from pipelines.demo import free_port, stop

MONITORING = Path(__file__).parent.parent.parent / "deploy" / "monitoring"
RULE_FILES = ("recording.yaml", "rules.yaml")
START_LIMIT_S = 30.0
_NAME = re.compile(r"(?<![\w:.])([a-zA-Z_:][\w:]*)\s*(\(|\{(?:[^}\"]|\"[^\"]*\")*\})?")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_MATCHER = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*\"([^\"]*)\"")
_WORDS = {"and", "or", "unless", "bool", "offset"}


def tool(name: str) -> str:
    """Where ``prometheus`` or ``promtool`` is. Raises FileNotFoundError, which says where to have it from."""
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(
            f"{name} is not there; it is in the package prometheus of Debian and Ubuntu: apt-get install prometheus"
        )
    return found


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric that an expression reads, and what it asks of its labels: name, operator, value."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...] = ()

    def __str__(self) -> str:
        return self.metric + "{" + ", ".join(f'{name}{how}"{value}"' for name, how, value in self.matchers) + "}"


def selectors(expression: str) -> list[Selector]:
    """Of an expression, without their ranges."""
    plain = _GROUPING.sub(" ", re.sub(r"\[[^\]]*\]", "", expression))
    return [
        Selector(name, tuple(_MATCHER.findall(tail)))
        for name, tail in _NAME.findall(plain)
        if tail != "(" and name not in _WORDS
    ]


def grouped(expression: str) -> set[str]:
    """Labels that an expression groups or joins by."""
    return {label.strip() for labels in _GROUPING.findall(expression) for label in labels.split(",")} - {""}


def rules() -> list[dict[str, Any]]:
    """All rules, recording and alerting."""
    files = (yaml.safe_load((MONITORING / name).read_text(encoding="utf-8")) for name in RULE_FILES)
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


@contextmanager
def prometheus(folder: Path, targets: Sequence[str]) -> Iterator[str]:
    """Scrape ``targets`` (host and port) and evaluate all rules every second; yields the server's base address.

    The configuration is the deployed one, but for the targets and the intervals.
    """
    configuration = yaml.safe_load((MONITORING / "prometheus.yaml").read_text(encoding="utf-8"))
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (job,) = configuration["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": list(targets)}]
    for name in RULE_FILES:
        file = yaml.safe_load((MONITORING / name).read_text(encoding="utf-8"))
        for group in file["groups"]:
            group.pop("interval", None)
        (folder / name).write_text(yaml.safe_dump(file, allow_unicode=True), encoding="utf-8")
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    base, log = f"http://127.0.0.1:{(port := free_port())}", folder / "prometheus.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [
                tool("prometheus"),
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_ready(base, server, log)
        yield base
    finally:
        stop(server)


def _wait_until_ready(base: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_LIMIT_S
    while time.monotonic() < until and server.poll() is None:
        try:
            if httpx.get(f"{base}/-/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"Prometheus did not start:\n{log.read_text(encoding='utf-8', errors='replace')[-2_000:]}")

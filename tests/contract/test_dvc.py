"""dvc.yaml names what each stage really reads."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import launch
from tests.contract.project import closure

ROOT = Path(__file__).parent.parent.parent
STAGES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
FLOW = "fetch prepare baseline compose backbone train evaluate export register choose package"
ORDER = FLOW.split()
CASES = "data/behaviour_cases"
"""Read by ``data.behaviour``, as data."""


def test_the_stages_are_the_flow() -> None:
    assert list(STAGES) == ORDER


@pytest.mark.parametrize("stage", ORDER)
def test_a_stage_is_a_thin_command(stage: str) -> None:
    launched = "launch " if stage in launch.STAGES else ""
    assert STAGES[stage]["cmd"] == f"python -m pipelines.{launched}{stage}"
    assert len((ROOT / "pipelines" / f"{stage}.py").read_text().splitlines()) <= 220


@pytest.mark.parametrize("stage", ORDER)
def test_code_dependencies_are_the_imports(stage: str) -> None:
    expected = {path.as_posix() for path in closure(ROOT, f"pipelines.{stage}")[0]}
    if stage in launch.STAGES:
        expected |= {path.as_posix() for path in closure(ROOT, "pipelines.launch")[0]}
    if stage == "package":  # it builds the service's files into the Bento
        for entrance in ("serving.service", "serving.rollout.__main__", "serving.access.__main__"):
            expected |= {path.as_posix() for path in closure(ROOT, entrance)[0]}
        expected |= {"bentofile.yaml", "requirements/serve.txt"}
    if "data/behaviour.py" in expected:
        expected.add(CASES)
    named = {path for path in STAGES[stage]["deps"] if not path.startswith("artifacts/")}
    assert sorted(named) == sorted(expected)


def test_every_artifact_that_is_read_was_written_before() -> None:
    written: set[str] = set()
    for name in ORDER:
        stage = STAGES[name]
        for dependency in stage["deps"]:
            if dependency.startswith("artifacts/"):
                assert any(out == dependency or out.startswith(f"{dependency}/") for out in written), dependency
        for kind in ("outs", "metrics", "plots"):
            written |= {out if isinstance(out, str) else next(iter(out)) for out in stage.get(kind, [])}


@pytest.mark.parametrize("stage", ["register", "choose", "package"])
def test_what_talks_to_stores_is_never_restored_from_the_run_cache(stage: str) -> None:
    (out,) = STAGES[stage]["outs"]
    (options,) = out.values()
    assert options == {"cache": False, "persist": True}


def test_parameters_exist() -> None:
    settings = yaml.safe_load((ROOT / "params.yaml").read_text())
    for stage in STAGES.values():
        for key in stage.get("params", []):
            section, _, name = key.partition(".")
            assert section in settings
            assert not name or name in settings[section]

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import grid, profile
from pipelines.errors import SettingsError
from pipelines.grid import SECTIONS, parse, trials

BASE = profile.resolve("compact")


def planned(text: str) -> list[dict[str, Any]]:
    return [dict(trial.settings) for trial in trials(parse(text), BASE, "sweep")]


def test_a_grid_is_every_combination_in_order_with_values_as_the_settings_have_them() -> None:
    found = trials(parse("train.learning_rate=3e-4,5e-4 train.seed=1,2"), BASE, "sweep")
    assert [trial.name for trial in found] == ["sweep-1", "sweep-2", "sweep-3", "sweep-4"]
    assert [dict(trial.settings) for trial in found] == [
        {"train.learning_rate": 0.0003, "train.seed": 1},
        {"train.learning_rate": 0.0003, "train.seed": 2},
        {"train.learning_rate": 0.0005, "train.seed": 1},
        {"train.learning_rate": 0.0005, "train.seed": 2},
    ]
    assert str(found[0]) == "train.learning_rate=0.0003 train.seed=1"


def test_names_sort_as_numbers() -> None:
    names = [trial.name for trial in trials(parse(f"train.seed={','.join(map(str, range(11)))}"), BASE, "sweep")]
    assert names == sorted(names)
    assert names[0] == "sweep-01"


def test_values_are_yaml() -> None:
    assert parse("a=1,x,true,~,[.1,.2] b=2") == {"a": [1, "x", True, None, [0.1, 0.2]], "b": [2]}
    assert planned("compose.neutral_targets=[.1,.3,.6,.9]")[0] == {"compose.neutral_targets": [0.1, 0.3, 0.6, 0.9]}
    assert planned("train.precision=fp32,bf16")[1] == {"train.precision": "bf16"}
    assert planned("backbone.architecture.layers=1,2")[1] == {"backbone.architecture.layers": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "GRID is empty; for example: GRID="),
        ("train.seed", "GRID has 'train.seed'; it must be a key, =, and values"),
        ("train.seed=", "GRID has 'train.seed='; it must be"),
        ("=1,2", "GRID has '=1,2'; it must be"),
        ("train.seed=1,,2", "GRID has 'train.seed=1,,2'; it must be"),
        ("train.seed=1]", r"GRID has 'train.seed=1\]'; it must be"),
        ("train.seed=1 train.seed=2", "GRID has train.seed twice"),
        ("train.learning_rate=3e-4,0.0003", "GRID has train.learning_rate=0.0003 twice"),
        ("train.sed=1,2", "GRID has train.sed, which is no setting; in train, there are epochs, "),
        ("train.seed.x=1,2", "GRID has train.seed.x, which is no setting; in train.seed, it is a single value"),
        ("train=1,2", "GRID has train, which is a group of settings; name one of epochs, "),
        ("choose.significance=0.1", "GRID has choose.significance; what can be swept is in prepare, "),
        ("fetch.source=a,b", "GRID has fetch.source; what can be swept is in prepare, "),
        ("profile=demo", "GRID has profile; what can be swept is in prepare, "),
        ("train.seed=1,-1", "(?s)GRID train.seed=-1 has 1 problem.*train.seed is -1; it must be in"),
        ("train.seed=1,0.5", "(?s)GRID train.seed=0.5 has 1 problem.*train.seed: .*integer"),
        ("train.seed=1 train.epochs=1,none", "(?s)GRID train.seed=1 train.epochs=none has 1 problem"),
        ("train.seed=" + ",".join(map(str, range(201))), "GRID has 201 combinations; at most 200 are run"),
    ],
)
def test_what_is_wrong_with_a_grid_is_said_before_anything_is_begun(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        planned(text)


def test_rules_between_settings_are_checked_for_every_combination() -> None:
    with pytest.raises(SettingsError, match=r"GRID encode.max_length_tokens=512 backbone.architecture.positions=256"):
        planned("encode.max_length_tokens=256,512 backbone.architecture.positions=256,512")


def test_settings_are_left_as_they_were() -> None:
    before = yaml.safe_dump(BASE)
    planned("train.seed=1,2")
    assert yaml.safe_dump(BASE) == before


def test_what_can_be_swept_is_what_judging_depends_on(root: Path) -> None:
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    upstream = list(stages)[: list(stages).index("evaluate") + 1]
    sections = {key.partition(".")[0] for name in upstream for key in stages[name].get("params", [])}
    assert set(SECTIONS) == sections - {"fetch"}
    assert grid.MOST_TRIALS == 200

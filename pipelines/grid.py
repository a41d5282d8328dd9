"""A grid of settings: its text, and every combination of its values, each checked as ``params.yaml`` would be."""

import copy
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from pipelines.errors import SettingsError
from pipelines.params import Params

SECTIONS = ("prepare", "encode", "compose", "backbone", "pretrain", "train", "judge")
"""What can be swept: the settings that ``evaluate`` depends on, but for where the data comes from."""
MOST_TRIALS = 200
EXAMPLE = 'GRID="train.learning_rate=3e-4,5e-4 train.seed=1,2"'


@dataclass(frozen=True, slots=True)
class Trial:
    """One combination of the grid, under the name of its experiment."""

    name: str
    settings: Mapping[str, Any]

    def __str__(self) -> str:
        """The settings in words."""
        return " ".join(f"{key}={word(value)}" for key, value in self.settings.items())


def parse(text: str) -> dict[str, list[Any]]:
    """The values of each key in ``key=value,value key=value …``, values in YAML. Raises SettingsError."""
    found: dict[str, list[Any]] = {}
    for part in text.split():
        key, _, values = part.partition("=")
        try:
            listed = yaml.safe_load(f"[{values}]")
        except yaml.YAMLError:
            listed = None
        if not key or not listed:
            raise SettingsError(f"GRID has {part!r}; it must be a key, =, and values between commas: {EXAMPLE}")
        if key in found:
            raise SettingsError(f"GRID has {key} twice; give all its values at once")
        found[key] = listed
    if not found:
        raise SettingsError(f"GRID is empty; for example: {EXAMPLE}")
    return found


def trials(values: Mapping[str, Sequence[Any]], settings: Mapping[str, Any], prefix: str) -> list[Trial]:
    """Every combination of ``values``, on top of ``settings``; raises SettingsError unless all of them are sound."""
    for key in values:
        _check_key(key, settings)
    count = math.prod(map(len, values.values()))
    if count > MOST_TRIALS:
        raise SettingsError(f"GRID has {count:,} combinations; at most {MOST_TRIALS} are run")
    found: dict[str, Trial] = {}
    for number, combination in enumerate(itertools.product(*values.values()), 1):
        chosen = dict(zip(values, combination, strict=True))
        origin = "GRID " + " ".join(f"{key}={word(value)}" for key, value in chosen.items())
        checked = Params.check(_changed(settings, chosen), origin).model_dump(mode="json", by_alias=True)
        trial = Trial(f"{prefix}-{number:0{len(str(count))}}", {key: _at(checked, key) for key in chosen})
        if str(trial) in found:
            raise SettingsError(f"GRID has {trial} twice")
        found[str(trial)] = trial
    return list(found.values())


def _check_key(key: str, settings: Mapping[str, Any]) -> None:
    if key.partition(".")[0] not in SECTIONS:
        raise SettingsError(f"GRID has {key}; what can be swept is in {', '.join(SECTIONS)}")
    place: Any = settings
    path = ""
    for name in key.split("."):
        if not isinstance(place, Mapping) or name not in place:
            there = f"there are {', '.join(place)}" if isinstance(place, Mapping) else "it is a single value"
            raise SettingsError(f"GRID has {key}, which is no setting; in {path}, {there}")
        place, path = place[name], f"{path}.{name}".lstrip(".")
    if isinstance(place, Mapping):
        raise SettingsError(f"GRID has {key}, which is a group of settings; name one of {', '.join(place)}")


def _changed(settings: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(dict(settings))
    for key, value in chosen.items():
        group, _, name = key.rpartition(".")
        _at(changed, group)[name] = value
    return changed


def _at(settings: Mapping[str, Any], key: str) -> Any:
    place: Any = settings
    for name in key.split("."):
        place = place[name]
    return place


def word(value: Any) -> str:
    """A setting's value, short."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)

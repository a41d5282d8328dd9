"""The manifest's schema says what ``Bundle.open`` takes: what it forbids is refused, not crashed upon."""

import copy
import json
import shutil
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from data import bundle as module
from data.bundle import MANIFEST_FILE, Bundle, Manifest
from data.errors import BundleError

SCHEMA = json.loads(Path(module.__file__).with_name("bundle.schema.json").read_text(encoding="utf-8"))
WRONG: tuple[object, ...] = (None, "x", -1, 1.5, 7, True, [], {}, ["x"], {"x": "y"})


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Everything in a manifest, of lists the first item."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def replaced(manifest: dict[str, Any], path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    found = copy.deepcopy(manifest)
    parent: Any = found
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return found


@pytest.fixture(scope="module")
def folder(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(bundle.folder, tmp_path_factory.mktemp("schema") / "copy"))


def test_the_schema_is_one_and_takes_what_is_written(bundle: Bundle) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA).validate(json.loads((bundle.folder / MANIFEST_FILE).read_text(encoding="utf-8")))
    names = {entry.name for entry in fields(Manifest)}
    assert set(SCHEMA["properties"]) == set(SCHEMA["required"]) == names


def test_what_the_schema_forbids_is_refused(folder: Path) -> None:
    path = folder / MANIFEST_FILE
    manifest = json.loads(path.read_text(encoding="utf-8"))
    validator, tried = Draft202012Validator(SCHEMA), 0
    for place in places(manifest):
        for value in WRONG:
            wrong = replaced(manifest, place, value)
            if validator.is_valid(wrong):
                continue
            tried += 1
            path.write_text(json.dumps(wrong), encoding="utf-8")
            with pytest.raises(BundleError):
                Bundle.open(folder)
                pytest.fail(f"{place} may be {value!r}")
    assert tried > 200

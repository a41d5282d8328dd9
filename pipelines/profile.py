"""Profiles: what a run is. ``python -m pipelines.profile NAME`` writes a profile's settings into params.yaml."""

import argparse
from pathlib import Path
from typing import Any

import yaml

from data.files import writing
from pipelines.errors import SettingsError
from pipelines.params import PARAMS_FILE, Params
from pipelines.stage import run

PROFILES_FOLDER = Path(__file__).parent / "profiles"
DEFAULT = "koelectra-base-v3"
HEADER = """\
# The settings of the present run, written from pipelines/profiles/; edit freely, `dvc repro` reruns what depends on it.
# `make profile PROFILE=NAME` writes another profile's settings here.
"""


def names() -> list[str]:
    """The profiles there are, in alphabetical order."""
    return sorted(path.stem for path in PROFILES_FOLDER.glob("*.yaml"))


def resolve(name: str) -> dict[str, Any]:
    """All settings of profile ``name``: the default's, and on top of them its own. Raises SettingsError."""
    if name not in names():
        raise SettingsError(f"PROFILE is {name!r}; it must be one of {', '.join(names())}")
    settings = {"profile": name, **_merged(_read(DEFAULT), _read(name) if name != DEFAULT else {})}
    Params.check(settings, f"profile {name}")
    return settings


def write(name: str, target: Path, *, force: bool = False) -> None:
    """Put profile ``name`` into ``target``, in one rename.

    Settings there that were edited by hand are not overwritten unless ``force``: raises SettingsError naming them.
    """
    settings = resolve(name)
    if target.exists() and not force:
        present = yaml.safe_load(target.read_text(encoding="utf-8")) or {}
        edited = _differences(present, resolve(str(present.get("profile"))))
        if edited and present != settings:
            raise SettingsError(
                f"{target} differs from its own profile at {', '.join(edited)}; those edits would be lost. "
                f"Keep them (commit, or write them into a profile), or add FORCE=1."
            )
    content = HEADER + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    with writing(target) as temporary:
        temporary.write_text(content, encoding="utf-8")


def _read(name: str) -> dict[str, Any]:
    return yaml.safe_load((PROFILES_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")) or {}


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = _merged(base[key], value) if both else value
    return result


def _differences(left: Any, right: Any, path: str = "") -> list[str]:
    if not (isinstance(left, dict) and isinstance(right, dict)):
        return [] if left == right else [path]
    keys = sorted({*left, *right})
    return [d for key in keys for d in _differences(left.get(key), right.get(key), f"{path}.{key}".lstrip("."))]


def main() -> None:
    """Command line: profile name, and ``--force`` to give up edits."""
    parser = argparse.ArgumentParser(prog="pipelines.profile", description=__doc__)
    parser.add_argument("name", help=f"one of {', '.join(names())}")
    parser.add_argument("--force", action="store_true", help="overwrite settings that were edited by hand")
    arguments = parser.parse_args()
    write(arguments.name, PARAMS_FILE, force=arguments.force)
    print(f"params.yaml now holds profile {arguments.name}")


if __name__ == "__main__":
    run(main)

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.files import sha256
from pipelines import workspace
from pipelines.demo import serving
from pipelines.serve import STORE_FOLDER, environment
from serving.settings import Settings


class Workspace:
    """A working copy of the pipeline with the profile ``demo``, and commands in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def dvc(self, *arguments: str) -> str:
        """Run DVC and return what it printed; fails with that where DVC fails."""
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=self.folder,
            env=environment(self.folder),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def fingerprint(root: Path) -> dict[str, str]:
    """Digests of what belongs to the real run of the checkout."""
    places = [root / name for name in ("params.yaml", "dvc.lock", "artifacts", "mlruns")]
    files = [file for place in places for file in (sorted(place.rglob("*")) if place.is_dir() else [place])]
    return {str(file): sha256(file) for file in files if file.is_file()}


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a developer has set for the real run, or was found out for it, is not the tests' business."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "NSMC_SOURCE", *(field.upper() for field in Settings.model_fields)):
            patch.delenv(name, raising=False)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("DRAIN_S", "0")
        yield


@pytest.fixture(scope="session")
def real_run_before(root: Path) -> dict[str, str]:
    return fingerprint(root)


@pytest.fixture(scope="session")
def reproduced(
    tmp_path_factory: pytest.TempPathFactory,
    root: Path,
    real_run_before: dict[str, str],
    _no_settings_from_outside: None,
) -> Workspace:
    """The whole way, once for all tests."""
    folder = tmp_path_factory.mktemp("e2e") / "demo"
    workspace.make("demo", folder, root)
    (folder / STORE_FOLDER).mkdir()
    reproduced = Workspace(folder)
    reproduced.dvc("repro")
    return reproduced


@pytest.fixture(scope="session")
def service(reproduced: Workspace) -> Iterator[str]:
    """The base address of a running service without any cache, so that every answer is inferred."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CACHE_ENTRIES", "0")
        with serving(reproduced.folder) as base:
            yield base

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import workspace
from pipelines.demo import serving
from pipelines.serve import STORE_FOLDER, environment


class Workspace:
    """A working copy of the pipeline with the profile ``demo``, and commands in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def dvc(self, *arguments: str) -> str:
        """Run DVC and return what it printed; fails with that where DVC fails."""
        variables = {key: value for key, value in environment(self.folder).items() if key != "MLFLOW_TRACKING_URI"}
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments], cwd=self.folder, env=variables, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Workspace:
    """The whole way, once for all tests."""
    folder = tmp_path_factory.mktemp("e2e") / "demo"
    workspace.make("demo", folder, root)
    (folder / STORE_FOLDER).mkdir()
    reproduced = Workspace(folder)
    reproduced.dvc("repro")
    return reproduced


@pytest.fixture(scope="session")
def service(reproduced: Workspace) -> Iterator[str]:
    """The base address of a running service, without Redis."""
    os.environ.pop("REDIS_URL", None)
    with serving(reproduced.folder) as base:
        yield base

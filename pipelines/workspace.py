"""A working copy of the pipeline of its own: ``python -m pipelines.workspace PROFILE FOLDER``.

The demo runs in one, so that it has its own ``params.yaml``, ``dvc.lock``, artifacts and MLflow store and never touches
those of the real run, while the DAG, the code and the commands are the very same.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from pipelines import profile
from pipelines.params import PARAMS_FILE
from pipelines.stage import run

CODE = ("data", "training", "serving", "pipelines", "requirements")
FILES = ("dvc.yaml", "bentofile.yaml")


def make(profile_name: str, folder: Path, source: Path = Path()) -> None:
    """Copy the pipeline from ``source`` into ``folder`` and choose its profile there.

    What an earlier run left in ``folder`` (artifacts, caches, stores) stays, so that running again is quick.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in CODE:
        shutil.rmtree(folder / name, ignore_errors=True)
        shutil.copytree(source / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copyfile(source / name, folder / name)
    if not (folder / ".dvc").exists():
        # a repository of DVC's alone, with the settings of the real one
        subprocess.run(
            [sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"],
            cwd=folder,
            env={**os.environ, "DVC_NO_ANALYTICS": "1"},
            check=True,
        )
        shutil.copyfile(source / ".dvc" / "config", folder / ".dvc" / "config")
        subprocess.run([sys.executable, "-m", "dvc", "config", "core.no_scm", "true"], cwd=folder, check=True)
    profile.write(profile_name, folder / PARAMS_FILE, force=True)


def main() -> None:
    """Command line: profile name and folder."""
    parser = argparse.ArgumentParser(prog="pipelines.workspace", description=__doc__)
    parser.add_argument("profile", help=f"one of {', '.join(profile.names())}")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    make(arguments.profile, arguments.folder)


if __name__ == "__main__":
    run(main)

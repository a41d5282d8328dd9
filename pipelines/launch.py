"""Run a training stage as accelerate's configuration says: ``python -m pipelines.launch STAGE``.

``ACCELERATE_CONFIG`` names a file of ``accelerate config`` (examples are in ``training/configs/``); without it the
stage runs in one process, on the GPU if there is one. The number of processes does not change what is learned.
"""

import argparse
import os
import sys
from pathlib import Path

from pipelines.errors import SettingsError
from pipelines.stage import run

CONFIG_VARIABLE = "ACCELERATE_CONFIG"
STAGES = ("backbone", "train")


def command(stage: str, config: str | None) -> list[str]:
    """What starts ``stage``. Raises SettingsError where the configuration is not there."""
    if not config:
        return [sys.executable, "-m", f"pipelines.{stage}"]
    if not Path(config).is_file():
        raise SettingsError(f"{CONFIG_VARIABLE} is {config!r}, which is no file; training/configs/ has some")
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", config]
    return [*launch, "-m", f"pipelines.{stage}"]


def main() -> None:
    """Replace this process by the stage, so that signals and the exit status are its own."""
    parser = argparse.ArgumentParser(prog="pipelines.launch", description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    arguments = command(parser.parse_args().stage, os.environ.get(CONFIG_VARIABLE))
    os.execv(arguments[0], arguments)  # noqa: S606 - no shell is meant


if __name__ == "__main__":
    run(main)

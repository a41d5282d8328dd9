"""Run a training stage in one process or several: ``python -m pipelines.launch STAGE``.

``ACCELERATE_CONFIG`` names a file of ``accelerate config`` for GPUs (examples are in ``training/configs/``).
``TRAIN_PROCESSES`` starts so many processes on this machine, which on a CPU share its cores. With neither the stage
runs in one process, on the GPU if there is one. The number of processes does not change what is learned.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from pipelines.errors import SettingsError
from pipelines.stage import run

CONFIG_VARIABLE, PROCESSES_VARIABLE = "ACCELERATE_CONFIG", "TRAIN_PROCESSES"
THREADS_VARIABLE = "OMP_NUM_THREADS"
STAGES = ("backbone", "train")


def command(stage: str, environment: Mapping[str, str]) -> list[str]:
    """What starts ``stage``. Raises SettingsError for a variable that cannot be followed."""
    config, processes = environment.get(CONFIG_VARIABLE), environment.get(PROCESSES_VARIABLE, "1")
    if not (processes.isdecimal() and 1 <= int(processes) <= 64):
        raise SettingsError(f"{PROCESSES_VARIABLE} is {processes!r}; it must be a whole number from 1 to 64")
    if config and int(processes) > 1:
        raise SettingsError(f"{CONFIG_VARIABLE} and {PROCESSES_VARIABLE} are both set; it must be one of them")
    if config:
        if not Path(config).is_file():
            raise SettingsError(f"{CONFIG_VARIABLE} is {config!r}, which is no file; training/configs/ has some")
        launch = ["-m", "accelerate.commands.launch", "--config_file", config]
    elif int(processes) > 1:
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", processes]
    else:
        launch = []
    return [sys.executable, *launch, "-m", f"pipelines.{stage}"]


def main() -> None:
    """Replace this process by the stage, so that signals and the exit status are its own."""
    parser = argparse.ArgumentParser(prog="pipelines.launch", description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    arguments = command(parser.parse_args().stage, os.environ)
    threads = max(1, (os.cpu_count() or 1) // int(os.environ.get(PROCESSES_VARIABLE, "1")))
    environment = {THREADS_VARIABLE: str(threads), **os.environ} if PROCESSES_VARIABLE in os.environ else os.environ
    os.execve(arguments[0], arguments, environment)  # noqa: S606 - no shell is meant


if __name__ == "__main__":
    run(main)

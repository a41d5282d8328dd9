"""The environment of the processes that the pipeline starts."""

import os
import sys
from pathlib import Path


def with_this_python() -> dict[str, str]:
    """This process's environment, in which the commands of this Python's folder are found first."""
    folder = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": os.pathsep.join((folder, os.environ.get("PATH", os.defpath)))}

"""Serve the Bento that was packaged last: ``python -m pipelines.serve [--workspace FOLDER] [--host H] [--port N]``."""

import argparse
import os
import sys
from pathlib import Path

import bentoml
from bentoml.exceptions import NotFound

from pipelines import artifacts
from pipelines.environment import with_this_python
from pipelines.errors import PackagingError
from pipelines.stage import run

PATHS = ("SIGNING_PUBLIC_KEY", "MODEL_STORE", "ROLLOUT_FOLDER", "JOURNAL_FOLDER", "KEYS_FILE")
"""Settings of the service that name a place."""
LOOPBACK = "127.0.0.1"
STORE_FOLDER = "bentoml"
"""Where a workspace keeps a Bento store of its own, if it does."""


def environment(workspace: Path) -> dict[str, str]:
    """The environment of processes that work in ``workspace``: this Python first, its Bento store."""
    variables = dict(with_this_python())
    store = (workspace / STORE_FOLDER).resolve()
    if store.is_dir():
        variables["BENTOML_HOME"] = str(store)
    return variables


def bento_tag(workspace: Path) -> str:
    """The Bento that was packaged last. Raises PackagingError where none was."""
    try:
        return str(artifacts.read_json(workspace / artifacts.PACKAGE)["bento_tag"])
    except FileNotFoundError as error:
        raise PackagingError(
            f"nothing was packaged in {workspace.resolve()} yet; run `make repro`, or `make demo` and then "
            "`make serve WORKSPACE=workspaces/demo`"
        ) from error


def command(workspace: Path, port: int, host: str = LOOPBACK) -> list[str]:
    """The server's command line. Raises PackagingError where nothing was packaged."""
    return [sys.executable, "-m", "bentoml", "serve", bento_tag(workspace), "--host", host, "--port", str(port)]


def main() -> None:
    """Command line: workspace and port. The server takes this process's place."""
    parser = argparse.ArgumentParser(prog="pipelines.serve", description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--host", default=LOOPBACK, help="0.0.0.0 for other machines, too; callers then need keys")
    parser.add_argument("--port", type=int, default=3000)
    arguments = parser.parse_args()
    line = command(arguments.workspace, arguments.port, arguments.host)
    variables = environment(arguments.workspace)
    # BentoML serves from the Bento's own folder, where a relative path leads elsewhere
    variables |= {name: str(Path(variables[name]).resolve()) for name in PATHS if variables.get(name)}
    os.environ.update(variables)
    tag = bento_tag(arguments.workspace)
    try:
        bentoml.bentos.get(tag)
    except NotFound as error:
        raise PackagingError(f"the Bento store has no {tag}; build it again: dvc repro --force package") from error
    sys.stdout.flush()
    os.execve(line[0], line, variables)  # noqa: S606 - the command is ours


if __name__ == "__main__":
    run(main)

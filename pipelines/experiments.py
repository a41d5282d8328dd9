"""DVC's experiment queue in the working directory: what is put into it, what works it off, and what came out.

The worker is a process of our own. DVC's usual one stays in the background, with the environment of whoever started it,
and what waits for it waits for ever if it dies.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import artifacts, workspace
from pipelines.errors import PipelineError, SettingsError
from pipelines.params import PARAMS_FILE

WORKER_LOG = artifacts.CACHE / "sweep-worker.log"
LEAVE_LIMIT_S = 60.0
FINAL = ("success", "failed")
_TASK = re.compile(r"^[0-9a-f]{7} +(\S+) .* (Queued|Running|Failed|Success) *$", re.MULTILINE)
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment: ``queued``, ``running``, ``success`` or ``failed``, and its metrics by file."""

    state: str
    metrics: Mapping[str, Any]


def starting_point() -> str:
    """The commit that experiments start from, together with the workspace's changes of what git knows.

    Raises SettingsError outside git, and for files of the pipeline that git does not know: DVC would leave them out.
    """
    commit = _git("rev-parse", "--verify", "--quiet", "HEAD")
    if not commit:
        raise SettingsError("experiments need a git repository with a commit; DVC keeps them in it")
    unknown = _git("ls-files", "--others", "--exclude-standard", "--", *workspace.CODE, *workspace.FILES, PARAMS_FILE)
    if unknown:
        raise SettingsError(f"git does not know {', '.join(unknown.split())}; `git add` it, or experiments lack it")
    return commit


class Queue:
    """The queue of the repository in the working directory, through DVC's command line.

    Every method raises PipelineError with what DVC said where DVC fails.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """``environment`` is that of the stages, too."""
        self._environment = {**environment, "DVC_NO_ANALYTICS": "1"}
        self._ours: list[str] = []

    def claim(self) -> None:
        """Make sure that nobody else works the queue. Raises PipelineError where something waits or runs in it."""
        if present := [name for name, state in self._tasks() if state in ("Queued", "Running")]:
            raise PipelineError(
                f"DVC's queue holds {', '.join(present)}; let it finish (dvc queue start), or empty it "
                f"(dvc queue kill {present[0]}, dvc queue remove --queued)"
            )
        self._dvc("queue", "stop")  # an idle worker would take what is queued, with an environment of its own

    def put(self, name: str, settings: Mapping[str, Any], stage: str) -> None:
        """Queue the workspace as it is now, with other settings, to be run up to ``stage``."""
        changes = [f"--set-param={key}={json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
        self._ours.append(name)
        self._dvc("exp", "run", "--queue", "--name", name, *changes, stage)

    @contextmanager
    def tidied(self) -> Iterator[None]:
        """Leave nothing that was ``put`` in the queue when the block ends, however it ends, but for what is done."""
        try:
            yield
        finally:
            self._withdraw()
            left = [name for name, state in self._tasks() if state == "Running" and name in self._ours]
            if left:  # taken up by a worker that is gone, which DVC notices only when it is told to kill it
                self._dvc("queue", "kill", *left)

    def look(self, commit: str) -> dict[str, Experiment]:
        """All experiments that started from ``commit``, by name."""
        shown = json.loads(self._dvc("exp", "show", "--json", "--hide-workspace", "--rev", commit))
        found = {}
        for each in (each for row in shown for each in row["experiments"] or ()):
            data = each["revs"][0]["data"] or {}
            state = each["executor"]["state"] if each["executor"] else "success"
            found[each["name"]] = Experiment(state, {k: v.get("data") for k, v in data.get("metrics", {}).items()})
        return found

    def log(self, name: str, lines: int = 5) -> str:
        """The last lines that an experiment wrote, or why they cannot be had."""
        try:
            return "\n".join(self._dvc("queue", "logs", name).strip().splitlines()[-lines:])
        except PipelineError as error:
            return str(error)

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        """Work the queue off while the block runs, one experiment at a time; it ends by itself when all is done.

        Leaving the block by an error interrupts what runs, as Ctrl-C would.
        """
        # never the name of an earlier one, whose messages, that to stop among them, may still lie about
        name = f"dvc-exp-{time.time_ns():x}@localhost"
        WORKER_LOG.parent.mkdir(exist_ok=True)
        with WORKER_LOG.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dvc", "exp", "queue-worker", name, "--clean"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that Ctrl-C reaches it through us, and with it all that it started
            )
        try:
            yield process
        except BaseException:
            try:
                self._withdraw()  # first, or the worker would begin the next one
            finally:
                _end(process, signal.SIGINT)
            raise
        _end(process, signal.SIGTERM)

    def _tasks(self) -> list[tuple[str, str]]:
        """Name and state of everything in the queue."""
        return _TASK.findall(self._dvc("queue", "status"))

    def _withdraw(self) -> None:
        """Take out what was put but not begun."""
        for attempt in reversed(range(_ATTEMPTS)):
            waiting = [name for name, state in self._tasks() if state == "Queued" and name in self._ours]
            try:
                if waiting:
                    self._dvc("queue", "remove", *waiting)
                return
            except PipelineError:  # one of them was begun just then
                if not attempt:
                    raise

    def _dvc(self, *arguments: str) -> str:
        """What a command of DVC prints. It is never cut short: it may have put the workspace's changes aside."""
        command = subprocess.Popen(
            [sys.executable, "-m", "dvc", *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            output, errors = command.communicate()
        except BaseException:
            command.communicate()
            raise
        if command.returncode:
            raise PipelineError(f"dvc {' '.join(arguments)} failed: {(errors or output).strip()}")
        return output


def _end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """End the worker and everything of its session, in good order if it comes to that in time."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    try:
        process.wait(LEAVE_LIMIT_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _git(*arguments: str | Path) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""

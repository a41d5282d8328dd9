"""Engines chosen at earlier starts: the same bundle on the same machine with the same software is not timed twice.

A start takes a second or two less, and a worker that comes back answers as it did before.
"""

import hashlib
import json
import logging
import os
import platform
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Self

from data.bundle import Bundle, Manifest
from data.errors import DataError
from data.files import writing
from data.typed import typed
from serving.engine.choose import Choice, Trial, Wanted, choose, settled
from serving.engine.cores import cores
from serving.engine.schedule import Cut

log = logging.getLogger(__name__)

FOLDER = "nsmc-sentiment/engines"
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "openvino", "torch")


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, and on what grounds."""

    trials: tuple[Trial, ...]
    taken: Trial
    cut: Cut

    @classmethod
    def of(cls, choice: Choice) -> Self:
        """What ``choice`` came to."""
        engine = choice.schedule.engine
        taken = next(
            trial
            for trial in choice.trials
            if (trial.engine, trial.precision, trial.layout) == (engine.name, engine.precision, engine.layout)
        )
        return cls(choice.trials, taken, choice.schedule.cut)


def default_folder() -> Path:
    """Where decisions are kept: the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / FOLDER


def remembers(manifest: Manifest, wanted: Wanted, folder: Path) -> bool:
    """Whether the bundle of ``manifest`` was made to answer before, in the same circumstances."""
    return _read(folder / f"{circumstances(manifest, wanted)}.json") is not None


def choose_again(bundle: Bundle, wanted: Wanted, folder: Path) -> Choice:
    """``choose``, or what it decided before in the same circumstances, as ``folder`` tells.

    What is remembered has to answer the golden samples like everything else; where it does not, it is forgotten. A
    folder that cannot be written to is no reason not to start.
    """
    file = folder / f"{circumstances(bundle.manifest, wanted)}.json"
    known = _read(file)
    if known is not None:
        choice = settled(bundle, known.taken, known.cut, known.trials)
        if choice is not None:
            log.info("the engine is the one chosen before: %s", known.taken)
            return choice
    choice = choose(bundle, wanted)
    if choice.degraded is None:
        _write(file, Decision.of(choice))
    return choice


def circumstances(manifest: Manifest, wanted: Wanted) -> str:
    """A digest of all that a decision about a bundle depends on, here and now."""
    facts = {
        "bundle": manifest.digest,
        "lengths": manifest.token_lengths,
        "wanted": asdict(wanted),
        "processor": _processor(),
        "cores": cores(),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "runtimes": {name: _version(name) for name in _RUNTIMES},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("model name")), platform.machine())


@cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _read(file: Path) -> Decision | None:
    try:
        return typed(json.loads(file.read_text(encoding="utf-8")), Decision)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, DataError) as error:
        log.warning("what was decided before cannot be read (%s); the engines are timed", type(error).__name__)
        return None


def _write(file: Path, decision: Decision) -> None:
    try:
        with writing(file) as temporary:
            temporary.write_text(json.dumps(asdict(decision)), encoding="utf-8")
    except OSError as error:
        log.warning("the choice of the engine cannot be kept (%s); the next start times engines again", error.strerror)

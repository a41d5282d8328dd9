"""Which checkpoint and which MLflow run a training goes on with."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import training
from data.files import sha256
from pipelines import artifacts
from pipelines.params import Params
from pipelines.registry import Registry, new_run
from training import checkpoint
from training.config import Schedule
from training.loop import resolve_precision
from training.processes import this_process

CHECKPOINTS = artifacts.CACHE / "checkpoints"
CODE = Path(training.__file__).parent


@dataclass(frozen=True, slots=True)
class Resumption:
    """The checkpoint folder of one training, and beside it the note of its run."""

    folder: Path

    @classmethod
    def of(cls, settings: Mapping[str, Any], files: Sequence[Path], schedule: Schedule) -> "Resumption":
        """A folder of its own for each combination of settings, data, code and hardware that decides the weights."""
        decisive = {
            **settings,
            "data": [sha256(file) for file in files],
            "code": [sha256(path) for path in sorted(CODE.glob("*.py"))],
            "hardware": [resolve_precision(schedule), this_process().num_processes],
        }
        name = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]
        return cls(CHECKPOINTS / name)

    @property
    def _note(self) -> Path:
        return self.folder.with_suffix(".run.json")

    def open_run(self, registry: Registry, params: Params) -> str:
        """The run of the training that is resumed, or a new one."""
        if self._note.exists():
            run_id = str(artifacts.read_json(self._note)["run_id"])
            if registry.has_run(run_id):
                if checkpoint.kept(self.folder):
                    registry.resume_run(run_id)
                    return run_id
                registry.end_run(run_id)  # killed before there was anything to go on from
        return new_run(registry, params, lambda run_id: artifacts.write_json(self._note, {"run_id": run_id}))

    def forget(self) -> None:
        """The outcome was put away: the checkpoint has done its duty."""
        checkpoint.forget(self.folder)
        self._note.unlink(missing_ok=True)

"""A model that is ready to answer: a verified bundle and an engine that reproduces its golden samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from data.bundle import Bundle
from data.labels import Verdict
from serving.engine import Engine
from serving.engine.choose import Wanted, choose, reference
from serving.engine.remembered import choose_again
from serving.engine.runner import Runner


@dataclass(frozen=True, slots=True)
class Model:
    """A bundle, what runs its graph, the tag under which both are known, and the version in MLflow."""

    tag: str
    bundle: Bundle
    runner: Runner
    mlflow_version: str | None = None

    @classmethod
    def load(
        cls,
        folder: Path,
        tag: str,
        *,
        wanted: Wanted | None = None,
        remembered: Path | None = None,
        mlflow_version: str | None = None,
    ) -> Self:
        """Verify ``folder`` and start an engine that reproduces its golden samples.

        It is the fastest here of those that ``wanted`` allows, as folder ``remembered`` knows from before or as is
        found out now; with None, nothing is timed, and ONNX Runtime runs the full graph. Raises BundleError or
        ModelUnavailable.
        """
        bundle = Bundle.open(folder)
        if wanted is None:
            choice = reference(bundle)
        else:
            choice = choose(bundle, wanted) if remembered is None else choose_again(bundle, wanted, remembered)
        return cls(tag, bundle, Runner(bundle, choice), mlflow_version)

    @property
    def engine(self) -> Engine:
        """What answers now."""
        return self.runner.schedule.engine

    def positive(self, rows: Sequence[Sequence[int]]) -> npt.NDArray[np.float64]:
        """Calibrated P(positive), (N,), of N token id rows."""
        return self.bundle.manifest.calibration.positive(self.runner.logits(rows))

    def positive_of_call(self, rows: Sequence[Sequence[int]]) -> npt.NDArray[np.float64]:
        """The same for rows that may share a call of the engine, on the thread that asks."""
        return self.bundle.manifest.calibration.positive(self.runner.call(rows))

    def positive_of(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Calibrated P(positive), (N,), of N clean texts, each cut where the model's length ends."""
        return self.positive(self.bundle.encoder.encode(texts, truncate=True))

    def verdict(self, positive: float) -> Verdict:
        """What this model's neutral band makes of a probability."""
        return Verdict.of(positive, self.bundle.manifest.neutral_band)

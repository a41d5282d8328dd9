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
from serving.engine.onnx import OnnxEngine


@dataclass(frozen=True, slots=True)
class Model:
    """A bundle, the engine that runs its graph, the tag under which both are known, and the version in MLflow."""

    tag: str
    bundle: Bundle
    engine: Engine
    mlflow_version: str | None = None

    @classmethod
    def load(cls, folder: Path, tag: str, *, threads: int = 0, mlflow_version: str | None = None) -> Self:
        """Verify ``folder``, start its engine, and refuse it unless it reproduces the golden samples.

        Raises BundleError or ModelUnavailable. Running the golden samples, all lengths at once and each alone,
        also warms the engine up.
        """
        bundle = Bundle.open(folder)
        model = cls(tag, bundle, OnnxEngine(bundle.graph, bundle.encoder.pad_id, threads), mlflow_version)
        rows = [golden.ids for golden in bundle.manifest.golden]
        bundle.check_golden(model.positive(rows).tolist())
        bundle.check_golden([float(model.positive([row])[0]) for row in rows])
        return model

    def positive(self, rows: Sequence[Sequence[int]]) -> npt.NDArray[np.float64]:
        """Calibrated P(positive), (N,), of N token id rows."""
        return self.bundle.manifest.calibration.positive(self.engine.logits(rows))

    def positive_of(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Calibrated P(positive), (N,), of N clean texts, each cut where the model's length ends."""
        return self.positive(self.bundle.encoder.encode(texts, truncate=True))

    def verdict(self, positive: float) -> Verdict:
        """What this model's neutral band makes of a probability."""
        return Verdict.of(positive, self.bundle.manifest.neutral_band)

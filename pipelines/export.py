"""Hand the model over: write its bundle, and judge the exported file with the engine that will serve it."""

import numpy as np
import pandas as pd

from data.bundle import GRAPH_FILE, Golden, Manifest
from data.encode import TOKENIZER_FILE, Encoder
from data.files import replacing, sha256
from pipelines import artifacts, stage
from pipelines.lineage import git_commit
from pipelines.metric import scores
from pipelines.params import Params
from pipelines.splits import read_split
from serving.engine.onnx import OnnxEngine
from serving.model import Model
from training import model as models
from training.errors import ExportMismatch
from training.export import export_onnx
from training.metrics import label_flips

MANIFEST_FILES = (GRAPH_FILE, TOKENIZER_FILE)


def _golden(predictions: pd.DataFrame, encoder: Encoder, count: int) -> tuple[Golden, ...]:
    """Samples of dev spread evenly over its lengths, with what the trained model says of them."""
    texts = read_split("dev")["text"][:]
    rows = encoder.encode(texts, truncate=True)
    positive = predictions.loc[predictions["split"] == "dev", "positive"].to_numpy()
    whole = [index for index in range(len(texts)) if len(rows[index]) < encoder.max_length_tokens]
    by_length = sorted(whole, key=lambda index: (len(rows[index]), index))
    chosen = {by_length[place] for place in np.linspace(0, len(whole) - 1, count).round().astype(int)}
    return tuple(Golden(texts[index], tuple(rows[index]), float(positive[index])) for index in sorted(chosen))


def main() -> None:
    """Stage export."""
    params = Params.load()
    model = models.load(artifacts.MODEL)
    encoder = Encoder.from_file(artifacts.MODEL, params.encode.max_length_tokens)
    predictions = pd.read_parquet(artifacts.PREDICTIONS)
    calibration, band = artifacts.read_calibration()

    with replacing(artifacts.BUNDLE) as folder:
        export_onnx(model, folder / GRAPH_FILE)
        (folder / TOKENIZER_FILE).write_bytes((artifacts.MODEL / TOKENIZER_FILE).read_bytes())
        engine = OnnxEngine(folder / GRAPH_FILE, encoder.pad_id)
        test = predictions[predictions["split"] == "test"]
        labels, expected = test["label"].to_numpy(), test[["logit_negative", "logit_positive"]].to_numpy()
        found = engine.logits(encoder.encode(read_split("test")["text"][:], truncate=True))
        difference = float(np.abs(found - expected).max())
        positive = calibration.positive(found)
        flips = label_flips(positive, calibration.positive(expected))
        if not difference <= params.export.max_logit_difference:
            raise ExportMismatch(
                f"the exported graph's logits differ from the model's by up to {difference:.2e} on test; "
                f"export.max_logit_difference allows {params.export.max_logit_difference:.0e}"
            )
        metrics = scores(positive, labels)
        manifest = Manifest(
            model_name=params.backbone.name,
            model_type=models.model_type(model),
            max_length_tokens=params.encode.max_length_tokens,
            calibration=calibration,
            neutral_band=band,
            fingerprint=encoder.fingerprint,
            files={name: sha256(folder / name) for name in MANIFEST_FILES},
            golden=_golden(predictions, encoder, params.export.golden_samples),
            metrics={f"test_{name}": value for name, value in metrics.items()},
            lineage={
                "profile": params.profile,
                "mlflow_run_id": str(artifacts.read_json(artifacts.RUN)["run_id"]),
                "git_commit": git_commit(),
                "train_file_sha256": params.fetch.train.sha256,
                "test_file_sha256": params.fetch.test.sha256,
            },
        )
        manifest.write(folder)
        Model.load(folder, tag="candidate")
        size = sum((folder / name).stat().st_size for name in MANIFEST_FILES)
    artifacts.write_json(
        artifacts.EXPORT_REPORT,
        {
            "exported_accuracy": metrics["accuracy"],
            "max_logit_difference": difference,
            "label_flips": flips,
            "bundle_bytes": size,
        },
    )
    print(f"bundle {manifest.digest[:12]}: {size:,} bytes, largest logit difference {difference:.1e}")


if __name__ == "__main__":
    stage.run(main)

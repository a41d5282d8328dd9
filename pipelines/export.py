"""Hand the model over: write its graphs, judge them in the engines that serve, and bundle what the gate lets in."""

from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from data.bundle import FULL, Golden, Manifest, length_quantiles
from data.encode import TOKENIZER_FILE, Encoder
from data.files import replacing, sha256
from pipelines import artifacts, stage
from pipelines.lineage import git_commit
from pipelines.metric import scores
from pipelines.params import Params
from pipelines.precisions import GRAPHS, DoubleArray, Judge, Rows, Texts, gated, write_graph
from pipelines.splits import read_split
from serving.model import Model
from training import model as models
from training.errors import ExportMismatch
from training.metrics import label_flips


def _golden(rows: Rows, positive: dict[str, DoubleArray], limit: int, count: int) -> tuple[Golden, ...]:
    """Samples of dev spread evenly over its lengths, none of them cut, with what each graph says of them."""
    texts = read_split("dev")["text"][:]
    whole = [index for index in range(len(texts)) if len(rows[index]) < limit]
    by_length = sorted(whole, key=lambda index: (len(rows[index]), index))
    chosen = {by_length[place] for place in np.linspace(0, len(whole) - 1, count).round().astype(int)}
    return tuple(
        Golden(texts[index], tuple(rows[index]), {name: float(found[index]) for name, found in positive.items()})
        for index in sorted(chosen)
    )


def _parity(logits: npt.NDArray[np.floating], expected: npt.NDArray[np.floating], allowed: float) -> float:
    """The largest difference between the graph's logits and the model's. Raises ExportMismatch over ``allowed``."""
    difference = float(np.abs(logits - expected).max())
    if not difference <= allowed:
        raise ExportMismatch(
            f"the exported graph's logits differ from the model's by up to {difference:.2e} on dev and test; "
            f"export.max_logit_difference allows {allowed:.0e}"
        )
    return difference


def main() -> None:
    """Stage export."""
    params = Params.load()
    model = models.load(artifacts.MODEL)
    encoder = Encoder.from_file(artifacts.MODEL, params.encode.max_length_tokens)
    expected = pd.read_parquet(artifacts.PREDICTIONS)[["logit_negative", "logit_positive"]].to_numpy()
    calibration, band = artifacts.read_calibration()
    texts = Texts.encoded(encoder)
    judge = partial(Judge.of, pad_id=encoder.pad_id, calibration=calibration)

    with replacing(artifacts.BUNDLE) as folder:
        (folder / TOKENIZER_FILE).write_bytes((artifacts.MODEL / TOKENIZER_FILE).read_bytes())
        logits = judge(write_graph(model, FULL, folder), FULL).schedule.logits(texts.rows)
        difference = _parity(logits, expected, params.export.max_logit_difference)
        full, trained = calibration.positive(logits), calibration.positive(expected)
        others, report = gated(model, params.export, texts, full, folder, judge, encoder.pad_id)
        figures = {name: {key: row[key] for key in row if key != "reasons"} for name, row in report.items()}
        graphs = {name: GRAPHS[name] for name in (FULL, *others)}
        files = sorted({TOKENIZER_FILE, *graphs.values()})
        metrics = scores(full[texts.dev :], texts.labels[texts.dev :])
        manifest = Manifest(
            model_name=params.backbone.name,
            model_type=models.model_type(model),
            max_length_tokens=params.encode.max_length_tokens,
            calibration=calibration,
            neutral_band=band,
            fingerprint=encoder.fingerprint,
            graphs=graphs,
            files={name: sha256(folder / name) for name in files},
            golden=_golden(
                texts.rows[: texts.dev],
                {FULL: trained, **others},
                encoder.max_length_tokens,
                params.export.golden_samples,
            ),
            token_lengths=length_quantiles(map(len, texts.rows[: texts.dev])),
            metrics={f"test_{name}": value for name, value in metrics.items()},
            gate={name: figures[name] for name in others},
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
        size = sum((folder / name).stat().st_size for name in files)
    artifacts.write_json(artifacts.PRECISIONS_REPORT, report)
    artifacts.write_json(
        artifacts.EXPORT_REPORT,
        {
            "exported_accuracy": metrics["accuracy"],
            "max_logit_difference": difference,
            "label_flips": label_flips(full, trained),
            "bundle_bytes": size,
            **figures,
        },
    )
    print(f"bundle {manifest.digest[:12]}: {size:,} bytes, largest logit difference {difference:.1e}")


if __name__ == "__main__":
    stage.run(main)

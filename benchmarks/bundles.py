"""A bundle of a model that nobody trained: for benchmarks and tests that need a real one in a second."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from transformers import PreTrainedModel

from data.bundle import FULL, GRAPH_FILE, Bundle, Golden, Manifest, length_quantiles
from data.encode import TOKENIZER_FILE, Encoder, IdArray, pad
from data.files import sha256
from data.labels import NeutralBand
from data.probability import Calibration
from serving.engine.onnx import OnnxEngine
from serving.engine.schedule import DEFAULT_CUT, Schedule
from training import quantize
from training.export import export_onnx
from training.predict import logits

INT8 = "int8"
INT8_FILE = "model.int8.onnx"
SAMPLES = ("정말 재미있어요", "시간이 아깝다. 별로", "그냥 그래요 ㅋㅋ")
"""Golden samples, where it does not matter which."""
CALIBRATION_REVIEWS, CALIBRATION_ROWS = 256, 16


def calibration_batches(rows: Sequence[Sequence[int]], pad_id: int) -> Iterator[tuple[IdArray, IdArray]]:
    """Some of ``rows`` in batches of similar length, for the ranges of 8 bits."""
    some = sorted(rows[:CALIBRATION_REVIEWS], key=len)
    return (pad(some[start : start + CALIBRATION_ROWS], pad_id) for start in range(0, len(some), CALIBRATION_ROWS))


def write_bundle(
    folder: Path,
    model: PreTrainedModel,
    tokenizer_json: str,
    texts: Sequence[str],
    batches: Iterable[tuple[IdArray, IdArray]],
    *,
    name: str,
    max_length_tokens: int,
    lengths: Iterable[int],
    neutral_band: NeutralBand | None = None,
) -> Bundle:
    """``model`` in full precision and in 8 bits, whose ranges are those of ``batches``; ``texts`` are its samples.

    ``lengths`` are those of the reviews that it is to expect, in tokens.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TOKENIZER_FILE).write_text(tokenizer_json, encoding="utf-8")
    export_onnx(model, folder / GRAPH_FILE)
    quantize.static(folder / GRAPH_FILE, folder / INT8_FILE, batches)
    encoder = Encoder(tokenizer_json, max_length_tokens)
    rows = encoder.encode(texts)
    int8 = Schedule(OnnxEngine(folder / INT8_FILE, encoder.pad_id, INT8), DEFAULT_CUT)
    calibration = Calibration()
    positive = zip(
        calibration.positive(logits(model, rows, encoder.pad_id)).tolist(),
        calibration.positive(int8.logits(rows)).tolist(),
        strict=True,
    )
    Manifest(
        model_name=name,
        model_type="ELECTRA",
        max_length_tokens=max_length_tokens,
        calibration=calibration,
        neutral_band=neutral_band or NeutralBand(),
        fingerprint=encoder.fingerprint,
        graphs={FULL: GRAPH_FILE, INT8: INT8_FILE},
        files={file: sha256(folder / file) for file in (GRAPH_FILE, INT8_FILE, TOKENIZER_FILE)},
        golden=tuple(
            Golden(text, tuple(row), dict(zip((FULL, INT8), both, strict=True)))
            for text, row, both in zip(texts, rows, positive, strict=True)
        ),
        token_lengths=length_quantiles(lengths),
        metrics={"test_accuracy": 0.5},
        lineage={"profile": name},
    ).write(folder)
    return Bundle.open(folder)

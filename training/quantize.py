"""A classifier's graph in 8 bits.

Weights become signed 8 bit numbers with a scale for each output; embedding tables, with one scale each. What is
multiplied with them is rounded to unsigned 8 bit numbers. ``static`` fixes their scale beforehand, from the ranges
that calibration reviews reach (Jacob et al., 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference"). ``dynamic`` takes the range of the batch at hand, so an answer depends on the
other rows: it is made to be compared, and the gate refuses it.

The head stays in full precision. It sees one row of each review, and ONNX Runtime multiplies one row otherwise than
several: the last bit differs, and in 8 bits the next rounding would make a step of it, so that in one review of
thousands the answer alone would not be that in a batch. It is a thousandth of the work.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from data.encode import IdArray
from training.graph import HEAD_PRODUCTS, INPUT_NAMES

_OPERATORS = ["MatMul", "Gather"]
_ONLY_WEIGHTS = {"MatMulConstBOnly": True}


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, batches: Iterable[tuple[IdArray, IdArray]]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, IdArray] | None:
        batch = next(self._batches, None)
        return None if batch is None else dict(zip(INPUT_NAMES, batch, strict=True))


def static(graph: Path, target: Path, batches: Iterable[tuple[IdArray, IdArray]]) -> None:
    """Write ``graph`` in 8 bits to ``target``, its ranges from ``batches`` of ids and masks, both (B, T).

    Padding counts like text, so the rows of a batch should be of similar length.
    """
    with _quiet():
        quantize_static(
            graph,
            target,
            _Reader(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATORS,
            nodes_to_exclude=list(HEAD_PRODUCTS),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # products stay in full precision: what follows them is no product
            extra_options={**_ONLY_WEIGHTS, "OpTypesToExcludeOutputQuantization": ["MatMul"]},
        )


def dynamic(graph: Path, target: Path) -> None:
    """Write ``graph`` with weights in 8 bits to ``target``; the products' other side is rounded batch by batch."""
    with _quiet():
        quantize_dynamic(
            graph,
            target,
            op_types_to_quantize=_OPERATORS,
            nodes_to_exclude=list(HEAD_PRODUCTS),
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options=_ONLY_WEIGHTS,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without advice to prepare graphs of exporters, which ours is not."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)

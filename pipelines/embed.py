"""Keep the trained model as the embedded backbone: ``python -m pipelines.embed``.

Writes ``data/backbone/``: the weights in half precision (safetensors), configuration, tokenizer and model card, small
enough to be committed, so that the demo and those without a network have something to start from. What half precision
changes is measured on dev, and refused where it is more than a rounding.
"""

import numpy as np

from data.encode import TOKENIZER_FILE, Encoder
from data.files import replacing, sha256
from pipelines import artifacts, stage
from pipelines.card import present_card
from pipelines.errors import PipelineError
from pipelines.params import Params
from pipelines.splits import read_split
from training import model as models
from training.hub import WEIGHTS_FILES
from training.metrics import label_flips
from training.predict import logits

FOLDER = artifacts.EMBEDDED
LIMIT_BYTES = 8_000_000
MOST_FLIPS = 0.001
"""Of the answers on dev, at most this share may become the other class."""

CARD_END = """
## The embedded weights / 내장 가중치
Made by `make repro PROFILE={profile}` and `python -m pipelines.embed`. The figures above are those of the weights in
full precision. These are in half precision, {size:,} bytes: of {rows:,} answers on dev {flips} changed sides, and the
largest difference of a logit was {difference:.4f}. 위 수치는 전체 정밀도 가중치의 것이며, 이 파일은 반정밀도입니다.
"""


def main() -> None:
    """Write the folder, or refuse a model that is too large for it or does not bear half precision."""
    params = Params.load()
    model = models.load(artifacts.MODEL)
    encoder = Encoder.from_file(artifacts.MODEL, params.encode.max_length_tokens)
    size = sum(2 * tensor.numel() for tensor in model.state_dict().values())
    if size > LIMIT_BYTES:
        raise PipelineError(f"the weights take {size:,} bytes in half precision; at most {LIMIT_BYTES:,} are embedded")
    rows = encoder.encode(read_split("dev")["text"][:], truncate=True)
    before = logits(model, rows, encoder.pad_id)
    model.half().float()
    after = logits(model, rows, encoder.pad_id)
    calibration, _ = artifacts.read_calibration()
    flips = label_flips(calibration.positive(before), calibration.positive(after))
    if flips > MOST_FLIPS * len(rows):
        raise PipelineError(
            f"half precision changes {flips} of {len(rows):,} answers on dev; at most {MOST_FLIPS:.1%} may change"
        )
    figures = {"size": size, "rows": len(rows), "flips": flips, "difference": float(np.abs(before - after).max())}
    with replacing(FOLDER) as folder:
        tokenizer_json = (artifacts.MODEL / TOKENIZER_FILE).read_text(encoding="utf-8")
        models.save(model.half(), tokenizer_json, folder)
        card = present_card(params) + CARD_END.format(profile=params.profile, **figures)
        (folder / "README.md").write_text(card, encoding="utf-8")
        digest = sha256(folder / WEIGHTS_FILES[0])
    print(f"{FOLDER}: {size:,} bytes of weights, {flips} answers of {len(rows):,} changed; backbone.sha256: {digest}")


if __name__ == "__main__":
    stage.run(main)

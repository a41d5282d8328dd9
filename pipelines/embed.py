"""Keep the trained model as the embedded backbone: ``python -m pipelines.embed``.

Writes ``data/backbone/``: the weights in half precision (safetensors), configuration, tokenizer and model card, small
enough to be committed, so that the demo and those without a network have something to start from.
"""

import torch

from data.encode import TOKENIZER_FILE
from data.files import replacing
from pipelines import artifacts, stage
from pipelines.card import present_card
from pipelines.errors import PipelineError
from pipelines.params import Params
from training import model as models

FOLDER = artifacts.EMBEDDED
LIMIT_BYTES = 8_000_000


def main() -> None:
    """Write the folder, or refuse a model that is too large for it."""
    params = Params.load()
    model = models.load(artifacts.MODEL)
    weights = {name: tensor.to(torch.float16) for name, tensor in model.state_dict().items()}
    size = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    if size > LIMIT_BYTES:
        raise PipelineError(f"the weights take {size:,} bytes in half precision; at most {LIMIT_BYTES:,} are embedded")
    with replacing(FOLDER) as folder:
        tokenizer_json = (artifacts.MODEL / TOKENIZER_FILE).read_text(encoding="utf-8")
        models.save(model.half(), tokenizer_json, folder, weights)
        (folder / "README.md").write_text(present_card(params), encoding="utf-8")
    print(f"{FOLDER}: {size:,} bytes of weights")


if __name__ == "__main__":
    stage.run(main)

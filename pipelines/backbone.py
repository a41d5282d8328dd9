"""Bring what training starts from: the hub, a folder or nothing; pretrain it further where that is wanted."""

from dataclasses import asdict
from typing import Any

from data.encode import Encoder
from data.files import replacing
from pipelines import artifacts, stage
from pipelines.learning import learning
from pipelines.params import Params
from pipelines.resumption import Resumption
from pipelines.splits import read_split
from training import model as models
from training.finetune import SpecialIds
from training.model import Start
from training.pretrain import ReplacedTokens, encoder_into
from training.processes import this_process

TEXTS = ("train", "crawl_train")


def _write(start: Start, origin: dict[str, Any]) -> None:
    with replacing(artifacts.BACKBONE) as folder:
        models.save(start.model, start.tokenizer_json, folder)
        artifacts.write_json(folder / artifacts.ORIGIN.name, origin)


def _pretrain(start: Start, texts: list[str], params: Params, origin: dict[str, Any]) -> None:
    """Pretrain ``start``'s encoder, and write it with what came of it."""
    settings = params.pretrain
    encoder = Encoder(start.tokenizer_json, params.encode.max_length_tokens)
    task = ReplacedTokens(
        start.model,
        encoder.encode(texts, truncate=True),
        encoder.encode(read_split("dev")["text"][:], truncate=True),
        settings,
        SpecialIds.of(encoder),
    )
    resumption = Resumption.of(
        params.model_dump(mode="json", include={"backbone", "pretrain", "encode"}),
        [artifacts.PREPARED / f"{name}.parquet" for name in (*TEXTS, "dev")],
        settings,
    )
    with learning(task, settings, resumption, params, prefix="pretrain/") as learned:
        if learned is not None:
            encoder_into(start.model, learned.outcome.weights)
            found = {"texts": len(texts), "seconds": learned.seconds, **asdict(learned.outcome.best)}
            _write(start, origin | {"pretraining": {"mlflow_run_id": learned.run_id, **found}})


def main() -> None:
    """Stage backbone."""
    params = Params.load()
    texts = [text for name in TEXTS for text in read_split(name)["text"][:]]
    start = models.build(params.backbone, texts)
    origin: dict[str, Any] = {"origin": start.origin.as_dict() if start.origin else None}
    is_main = this_process().is_main_process
    if params.pretrain.epochs:
        _pretrain(start, texts, params, origin)
    elif is_main:
        _write(start, origin)
    if is_main:
        where = start.origin.commit or start.origin.name if start.origin else "from scratch"
        print(f"{params.backbone.name}: {start.model.num_parameters():,} parameters, {where}")


if __name__ == "__main__":
    stage.run(main)

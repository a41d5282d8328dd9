"""Bring what training starts from: the hub, a folder or nothing; pretrain it further where that is wanted."""

from dataclasses import asdict
from functools import partial
from typing import Any

from accelerate import PartialState

from data.encode import Encoder
from data.files import replacing
from pipelines import artifacts, stage
from pipelines.params import Params
from pipelines.progress import Progress
from pipelines.registry import Registry
from pipelines.resumption import Resumption
from pipelines.splits import read_split
from training import model as models
from training.finetune import SpecialIds
from training.loop import train
from training.model import Start
from training.pretrain import ReplacedTokens
from training.reports import Silent

ORIGIN_FILE = "origin.json"
TEXTS = ("train", "crawl_train")


def _pretrained(start: Start, texts: list[str], params: Params) -> dict[str, Any]:
    """Pretrain ``start``'s encoder in place; returns what came of it."""
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
    learn = partial(train, task, settings, checkpoint=resumption.folder)
    if not PartialState().is_main_process:
        learn(listener=Silent())
        return {}
    registry = Registry(params.register_)
    run_id = resumption.open_run(registry, params)
    progress = Progress(registry, run_id, settings.epochs, prefix="pretrain/")
    with registry.finishing(run_id):
        outcome = learn(listener=progress)
        progress.close()
    resumption.forget()
    return {"pretraining": {"mlflow_run_id": run_id, "texts": len(texts), **asdict(outcome.best)}}


def main() -> None:
    """Stage backbone."""
    params = Params.load()
    texts = [text for name in TEXTS for text in read_split(name)["text"][:]]
    start = models.build(params.backbone, texts)
    origin: dict[str, Any] = {"origin": start.origin.as_dict() if start.origin else None}
    if params.pretrain.epochs:
        origin |= _pretrained(start, texts, params)
    if not PartialState().is_main_process:
        return
    with replacing(artifacts.BACKBONE) as folder:
        models.save(start.model, start.tokenizer_json, folder)
        artifacts.write_json(folder / ORIGIN_FILE, origin)
    where = start.origin.commit or start.origin.name if start.origin else "from scratch"
    print(f"{params.backbone.name}: {start.model.num_parameters():,} parameters, {where}")


if __name__ == "__main__":
    stage.run(main)

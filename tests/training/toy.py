"""A tiny model with something to learn, in seconds; as a process: ``python -m tests.training.toy FOLDER``.

The process trains into FOLDER and writes its outcome there as JSON; ``--slow`` pauses after each report, so that there
is time to end it in the middle of an epoch.
"""

import argparse
import hashlib
import json
import random
import time
from dataclasses import replace
from pathlib import Path

from accelerate import PartialState
from transformers import PreTrainedModel

from data.encode import Encoder
from tests.models import BACKBONE
from training import model as models
from training.config import Backbone, Training
from training.finetune import FineTuning, SpecialIds, Split
from training.loop import train
from training.reports import EpochReport, Listener, Outcome, StepReport

CONFIG = Training(
    epochs=6,
    batch_tokens=100,
    learning_rate=1e-2,
    precision="fp32",
    seed=7,
    log_every_steps=2,
    checkpoint_every_steps=3,
)
SMALL = replace(BACKBONE, seed=7)
GOOD, BAD = ("재미있다", "최고다", "감동이다"), ("지루하다", "별로다", "아깝다")


def reviews(count: int, seed: int) -> tuple[list[str], list[int]]:
    generator = random.Random(seed)
    labels = [generator.randrange(2) for _ in range(count)]
    filler = ("영화", "연기", "이야기", "음악", "정말", "그냥")
    texts = [
        " ".join([*generator.sample(filler, generator.randrange(1, 6)), generator.choice(GOOD if label else BAD)])
        for label in labels
    ]
    return texts, labels


class Recorder:
    def __init__(self, stop_at_step: int | None = None, pause_s: float = 0.0) -> None:
        self.steps: list[StepReport] = []
        self.epochs: list[EpochReport] = []
        self._stop_at_step, self._pause_s = stop_at_step, pause_s

    def on_step(self, report: StepReport) -> None:
        self.steps.append(report)
        time.sleep(self._pause_s)
        if self._stop_at_step is not None and report.step >= self._stop_at_step:
            raise KeyboardInterrupt

    def on_epoch(self, report: EpochReport) -> None:
        self.epochs.append(report)


def task(config: Training = CONFIG, backbone: Backbone = SMALL) -> FineTuning:
    texts, labels = reviews(200, seed=1)
    dev_texts, dev_labels = reviews(60, seed=2)
    start = models.build(backbone, texts)
    encoder = Encoder(start.tokenizer_json, 64)
    return FineTuning(
        start.model,
        Split(encoder.encode(texts), labels),
        Split(encoder.encode(dev_texts), dev_labels),
        config,
        SpecialIds.of(encoder),
    )


def run(folder: Path, config: Training = CONFIG, listener: Listener | None = None) -> tuple[PreTrainedModel, Outcome]:
    learned = task(config)
    outcome = train(learned, config, listener=listener or Recorder(), checkpoint=folder / "checkpoint", cpu=True)
    assert isinstance(learned.model, PreTrainedModel)
    return learned.model, outcome


def digest(model: PreTrainedModel) -> str:
    weights = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
    return hashlib.sha256(weights).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--no-dropout", action="store_true")
    parser.add_argument("--accumulation", type=int, default=1)
    arguments = parser.parse_args()
    config = replace(CONFIG, accumulation=arguments.accumulation, average_decay=0.9)
    backbone = replace(SMALL, dropout=0.0, attention_dropout=0.0) if arguments.no_dropout else SMALL
    learned, recorder = task(config, backbone), Recorder(pause_s=0.2 if arguments.slow else 0.0)
    outcome = train(learned, config, listener=recorder, checkpoint=arguments.folder / "checkpoint", cpu=True)
    assert isinstance(learned.model, PreTrainedModel)
    if recorder.epochs:  # the main process
        result = {
            "digest": digest(learned.model),
            "processes": PartialState().num_processes,
            "losses": [step.loss for step in outcome.steps],
            "reported_now": [step.step for step in recorder.steps],
        }
        (arguments.folder / "outcome.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()

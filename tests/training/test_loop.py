"""Training of a tiny model that has something to learn, in seconds."""

import hashlib
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from data.encode import Encoder
from tests.models import BACKBONE
from training import model as models
from training.config import Training
from training.errors import LossDiverged
from training.loop import EpochReport, Outcome, Split, StepReport, train
from training.predict import logits

CONFIG = Training(epochs=3, batch_size=16, learning_rate=1e-2, precision="fp32", seed=7, log_every_steps=2)
GOOD, BAD = ("재미있다", "최고다", "감동이다"), ("지루하다", "별로다", "아깝다")


def reviews(count: int, seed: int) -> tuple[list[str], list[int]]:
    generator = random.Random(seed)
    labels = [generator.randrange(2) for _ in range(count)]
    filler = ("영화", "연기", "이야기", "음악", "정말", "그냥")
    texts = [" ".join([*generator.sample(filler, 3), generator.choice(GOOD if label else BAD)]) for label in labels]
    return texts, labels


class Recorder:
    def __init__(self, stop_after_epoch: int | None = None) -> None:
        self.steps: list[StepReport] = []
        self.epochs: list[EpochReport] = []
        self._stop_after_epoch = stop_after_epoch

    def on_step(self, report: StepReport) -> None:
        self.steps.append(report)
        if self._stop_after_epoch is not None and len(self.epochs) > self._stop_after_epoch:
            raise KeyboardInterrupt

    def on_epoch(self, report: EpochReport) -> None:
        self.epochs.append(report)


def fresh() -> tuple[PreTrainedModel, Split, Split, int]:
    texts, labels = reviews(200, seed=1)
    dev_texts, dev_labels = reviews(60, seed=2)
    model, tokenizer_json = models.build(BACKBONE, texts, CONFIG.seed)
    encoder = Encoder(tokenizer_json, 64)
    return model, Split(encoder.encode(texts), labels), Split(encoder.encode(dev_texts), dev_labels), encoder.pad_id


def run(tmp_path: Path, config: Training = CONFIG, listener: Recorder | None = None) -> tuple[PreTrainedModel, Outcome]:
    model, train_split, dev_split, pad_id = fresh()
    outcome = train(
        model,
        train_split,
        dev_split,
        config,
        pad_id=pad_id,
        listener=listener or Recorder(),
        checkpoint=tmp_path / "checkpoint",
        cpu=True,
    )
    return model, outcome


def digest(model: PreTrainedModel) -> str:
    weights = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
    return hashlib.sha256(weights).hexdigest()


def test_it_learns_and_reports(tmp_path: Path) -> None:
    recorder = Recorder()
    _, outcome = run(tmp_path, listener=recorder)
    assert outcome.best.dev_accuracy > 0.9
    assert [epoch.epoch for epoch in recorder.epochs] == [1, 2, 3]
    assert recorder.steps[-1].step == recorder.steps[-1].total_steps == 3 * 13
    assert recorder.steps[-1].learning_rate == pytest.approx(0.0, abs=1e-9)
    assert recorder.steps[-1].loss < recorder.steps[0].loss
    assert outcome.steps == tuple(recorder.steps)
    assert outcome.epochs == tuple(recorder.epochs)


def test_the_model_holds_the_weights_of_the_best_epoch(tmp_path: Path) -> None:
    model, outcome = run(tmp_path, replace(CONFIG, epochs=4, learning_rate=0.02))
    best = max(outcome.epochs, key=lambda epoch: (epoch.dev_accuracy, -epoch.dev_loss))
    assert outcome.best == best
    _, _, dev_split, pad_id = fresh()
    found = logits(model, dev_split.rows, pad_id).argmax(axis=1)
    assert float((found == dev_split.labels).mean()) == pytest.approx(best.dev_accuracy)


def test_two_runs_are_the_same_to_the_bit(tmp_path: Path) -> None:
    assert digest(run(tmp_path / "a")[0]) == digest(run(tmp_path / "b")[0])


def test_an_interrupted_run_goes_on_after_its_last_epoch_to_the_same_weights(tmp_path: Path) -> None:
    whole = digest(run(tmp_path / "whole")[0])
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", listener=Recorder(stop_after_epoch=0))
    recorder = Recorder()
    model, outcome = run(tmp_path / "cut", listener=recorder)
    assert digest(model) == whole
    assert [step.step for step in outcome.steps][:3] == [2, 4, 6], "the reports of the first epoch are kept"
    assert [epoch.epoch for epoch in recorder.epochs] == [1, 2, 3]
    assert recorder.steps[0].step > 13, "the first epoch is not repeated"


def test_a_finished_run_whose_outcome_was_lost_is_not_trained_again(tmp_path: Path) -> None:
    first, _ = run(tmp_path)
    recorder = Recorder()
    again, outcome = run(tmp_path, listener=recorder)
    assert digest(again) == digest(first)
    assert not recorder.steps
    assert len(outcome.epochs) == CONFIG.epochs


def test_a_checkpoint_cut_off_between_its_renames_is_found(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, listener=Recorder(stop_after_epoch=0))
    (tmp_path / "checkpoint").rename(tmp_path / "checkpoint.old")
    recorder = Recorder()
    run(tmp_path, listener=recorder)
    assert recorder.steps[0].step > 13


def test_a_loss_that_is_no_number_stops_with_a_remedy(tmp_path: Path) -> None:
    model, train_split, dev_split, pad_id = fresh()
    with torch.no_grad():
        model.get_parameter("classifier.out_proj.bias").fill_(float("nan"))
    with pytest.raises(LossDiverged, match=r"loss is nan at step .* lower train\.learning_rate"):
        train(
            model, train_split, dev_split, CONFIG,
            pad_id=pad_id, listener=Recorder(), checkpoint=tmp_path / "checkpoint", cpu=True,
        )  # fmt: skip

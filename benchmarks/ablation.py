"""What each switch is worth: ``python -m benchmarks.ablation`` in a workspace whose ``prepare`` stage has run.

Trains the present ``params.yaml`` (meant for the profile ``compact``) as it is and with one switch at a time, three
seeds each, and judges on dev alone. A run that is done is kept in the results file and never done again, so the table
can be made over several evenings. Runs with the same seed start from the same weights and see the same rows; as many
of them as there are cores are done at a time, on one thread each.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import Dataset

from data.encode import Encoder
from data.files import writing
from data.probability import margin
from pipelines import stage
from pipelines.compose import lessons
from pipelines.params import Compose, Params
from pipelines.splits import read_split
from training import model as models
from training.calibrate import fit_calibration
from training.finetune import FineTuning, SpecialIds, Split
from training.loop import train
from training.metrics import Scores
from training.predict import logits
from training.pretrain import ReplacedTokens
from training.reports import Silent

SEEDS = (1, 2, 3)
_WIDE = {"initializer_range": 0.07}
_COUNTED = {**_WIDE, "embeddings": "cooccurrence"}
_PRETRAINING = {"epochs": 1, "batch_tokens": 1024, "learning_rate": 7e-4}
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "base": {},
    "layer-wise learning rate, decay 0.8": {"train": {"layer_decay": 0.8}},
    "label smoothing 0.1": {"train": {"label_smoothing": 0.1}},
    "R-Drop 1.0": {"train": {"r_drop": 1.0}},
    "average of weights, decay 0.999": {"train": {"average_decay": 0.999}},
    "adversarial embeddings (FGM) 0.5": {"train": {"adversarial": 0.5}},
    "token dropout 0.1": {"train": {"token_dropout": 0.1}},
    "crawl, 1-4 and 9-10 stars at the class prior": {"compose": {"polar": True}},
    "crawl, neutral stars too": {"compose": {"polar": True, "neutral": True}},
    "distillation from the linear model, 0.5": {"compose": {"teacher": {"weight": 0.5, "names": ["linear"]}}},
    "crawl, neutral stars too, and distillation": {
        "compose": {"polar": True, "neutral": True, "teacher": {"weight": 0.5, "names": ["linear"]}},
    },
    "no dropout": {"backbone": {"dropout": 0.0}},
    "wider first weights, 0.07": {"backbone": {"architecture": _WIDE}},
    "wider first weights, counted embeddings": {"backbone": {"architecture": _COUNTED}},
    "replaced token pretraining, 1 epoch, from wider weights": {
        "backbone": {"architecture": _WIDE},
        "pretrain": _PRETRAINING,
    },
    "the same from counted embeddings": {"backbone": {"architecture": _COUNTED}, "pretrain": _PRETRAINING},
}


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run came to on dev."""

    accuracy: float
    log_loss: float
    seconds: float


def changed(params: Params, variant: Mapping[str, Mapping[str, Any]], seed: int) -> Params:
    """``params`` with a variant's settings and all seeds of the training set to ``seed``."""
    raw = _merged(params.model_dump(mode="json", by_alias=True), variant)
    for section in ("backbone", "pretrain", "train"):
        raw[section]["seed"] = seed
    return Params.check(raw, "ablation")


def _merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {**settings} | {
        name: _merged(settings[name], change) if isinstance(change, Mapping) else change
        for name, change in changes.items()
    }


class Lessons:
    """The lessons by their settings, from one random part of the reviews, each composed once."""

    def __init__(self, fraction: float, folder: Path) -> None:
        self._folder = folder
        self._train, self._crawl = (_part(read_split(name), fraction) for name in ("train", "crawl_train"))
        self._feedback = read_split("feedback")

    def unlabelled(self) -> list[str]:
        """The texts of all of them."""
        return [*self._train["text"][:], *self._crawl["text"][:]]

    def file(self, settings: Compose) -> Path:
        """Where the lessons of ``settings`` lie."""
        path = self._folder / f"{hashlib.sha256(settings.model_dump_json().encode()).hexdigest()}.parquet"
        if not path.exists():
            with writing(path) as temporary:
                lessons(settings, self._train, self._crawl, self._feedback).to_parquet(temporary, index=False)
        return path


def _part(split: Dataset, fraction: float) -> Dataset:
    return split.shuffle(seed=0).select(range(round(fraction * len(split))))


def measure(params: Params, unlabelled: Sequence[str], table: Path) -> Figures:
    """Train once, on one thread, and judge on dev."""
    torch.set_num_threads(1)
    started = time.monotonic()
    start = models.build(params.backbone, unlabelled)
    encoder = Encoder(start.tokenizer_json, params.encode.max_length_tokens)
    ids = SpecialIds.of(encoder)
    dev = read_split("dev")
    dev_rows, labels = encoder.encode(dev["text"][:], truncate=True), np.asarray(dev["label"][:])
    with tempfile.TemporaryDirectory(prefix="ablation-") as folder:
        if params.pretrain.epochs:
            rows = encoder.encode(unlabelled, truncate=True)
            task = ReplacedTokens(start.model, rows, dev_rows, params.pretrain, ids)
            train(task, params.pretrain, listener=Silent(), checkpoint=Path(folder) / "pretrain")
        taught = pd.read_parquet(table)
        rows = encoder.encode(taught["text"].tolist(), truncate=True)
        learned, held_out = Split(rows, taught["positive"].tolist()), Split(dev_rows, labels.tolist())
        tuning = FineTuning(start.model, learned, held_out, params.train, ids)
        outcome = train(tuning, params.train, listener=Silent(), checkpoint=Path(folder) / "train")
    start.model.load_state_dict(outcome.weights)
    found = logits(start.model, dev_rows, encoder.pad_id)
    scores = Scores.of(labels, fit_calibration(margin(found), labels).positive(found))
    return Figures(scores.accuracy, scores.log_loss, round(time.monotonic() - started, 1))


def table(results: Mapping[str, Mapping[str, Any]], rows: str) -> str:
    """Markdown: each variant's mean over its seeds and its paired difference from the base, once that is known."""
    lines = [
        f"Lessons: {rows}. Dev figures, calibrated; mean over seeds, and the difference from the base with the same",
        "seed (mean, and the smallest and largest of them).",
        "",
        "| switch | seeds | accuracy | difference, points | log loss | difference | time |",
        "|---|---|---|---|---|---|---|",
    ]
    base = results.get("base", {})
    for name, runs in results.items():
        paired = [seed for seed in runs if seed in base]
        if not paired:
            continue
        points = [100 * (runs[seed]["accuracy"] - base[seed]["accuracy"]) for seed in paired]
        losses = [runs[seed]["log_loss"] - base[seed]["log_loss"] for seed in paired]
        seconds = [runs[seed]["seconds"] / base[seed]["seconds"] for seed in paired]
        lines.append(
            f"| {name} | {len(runs)} | {100 * np.mean([run['accuracy'] for run in runs.values()]):.2f} % "
            f"| {np.mean(points):+.2f} ({min(points):+.2f} to {max(points):+.2f}) "
            f"| {np.mean([run['log_loss'] for run in runs.values()]):.4f} | {np.mean(losses):+.4f} "
            f"| {np.mean(seconds):.2f} x |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is not in the results file yet, seed by seed, and write the table after each."""
    parser = argparse.ArgumentParser(prog="benchmarks.ablation", description=__doc__)
    parser.add_argument("--fraction", type=float, default=1.0, help="of the reviews, the same part for every variant")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time, each on one thread")
    parser.add_argument("--results", type=Path, default=Path("docs/results/ablation.json"))
    parser.add_argument("--table", type=Path, default=Path("docs/results/ablation.md"))
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS), default=list(VARIANTS))
    arguments = parser.parse_args()
    params = Params.load()
    results: dict[str, dict[str, Any]] = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
    known = results.setdefault("settings", {"fraction": arguments.fraction, "profile": params.profile})
    if known != {"fraction": arguments.fraction, "profile": params.profile}:
        parser.error(f"{arguments.results} was made with {known}; give another --results, or the same settings")
    left = [(seed, name) for seed in SEEDS for name in arguments.only if str(seed) not in results.get(name, {})]
    with (
        tempfile.TemporaryDirectory(prefix="lessons-") as folder,
        ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("spawn")) as pool,
    ):
        composed, runs = Lessons(arguments.fraction, Path(folder)), {}
        unlabelled = composed.unlabelled()
        for seed, name in left:
            settings = changed(params, VARIANTS[name], seed)
            runs[pool.submit(measure, settings, unlabelled, composed.file(settings.compose))] = seed, name
        try:
            for run in as_completed(runs):
                (seed, name), figures = runs[run], run.result()
                results.setdefault(name, {})[str(seed)] = asdict(figures)
                with writing(arguments.results) as temporary:
                    temporary.write_text(json.dumps(results, indent=1) + "\n")
                done = {variant: results[variant] for variant in VARIANTS if variant in results}
                with writing(arguments.table) as temporary:
                    temporary.write_text(table(done, f"{arguments.fraction:.0%} of {params.profile}'s"))
                print(f"seed {seed}, {name}: {figures.accuracy:.4f} in {figures.seconds:.0f} s", flush=True)
        finally:
            pool.shutdown(cancel_futures=True)


if __name__ == "__main__":
    stage.run(main)

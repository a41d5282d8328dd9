"""Whether a GPU trains like a CPU, and how fast. ``python -m benchmarks.gpu_check [--nsmc FOLDER]``.

Prints Markdown. Ends with 0 where all holds, 1 where something does not, and 2 where there is no GPU. Needs torch,
transformers, accelerate and tokenizers, and no more; with onnx, the serving engine is checked, too. ``--rehearse`` goes
the same way in little, with the CPU in the GPU's place: it shows that the check runs and says nothing of a GPU.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch
import transformers
from torch import Tensor, nn

from benchmarks.machine import default_precision, forget_accelerator
from benchmarks.subjects import SEED, SHAPES, Corpus, Shape, nsmc_folder
from benchmarks.training import compare
from training.config import Architecture, Precision, Training
from training.finetune import FineTuning, Split
from training.loop import train
from training.reports import EpochReport, Listener, Outcome, Silent, StepReport

REVIEWS, DEV_REVIEWS = 200, 50
STEPS_COMPARED = 20
LEARNED_LOSS = 0.2
"""By heart: far below the 0.69 of a guess."""
DEVICES_DIFFER = 1e-4
"""Rounding is a hundredth of that in so many steps, bf16 where fp32 was asked for ten times."""
RESUMED_DIFFERS = 1e-3
"""Or three times what two whole runs differ by: a GPU adds in no fixed order."""
SAVED_EVERY, CUT_AT = 4, 10
TINY = Shape(
    Architecture(layers=1, hidden=64, heads=2, embedding=32, feed_forward=128, vocabulary=2000),
    batch_tokens=512,
    learning_rate=2e-3,
)
CONFIG = Training(
    epochs=3, batch_tokens=256, learning_rate=1e-3, precision="fp32", seed=SEED, log_every_steps=1,
    checkpoint_every_steps=10**9,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, whether it holds, and what was found."""

    name: str
    holds: bool
    found: str


class _Traced(FineTuning):
    """Remembers the rows of each step."""

    seen: list[list[int]]

    def learn(self, model: nn.Module, rows: Sequence[int], backward: Callable[[Tensor], None]) -> Tensor:
        self.seen.append(list(rows))
        return super().learn(model, rows, backward)


class _Cut:
    """Ends a run at a step, as Ctrl-C would."""

    def on_step(self, report: StepReport) -> None:
        if report.step == CUT_AT:
            raise KeyboardInterrupt

    def on_epoch(self, report: EpochReport) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Bench:
    """A model's shape and a few reviews; ``cpu`` in a rehearsal."""

    shape: Shape
    corpus: Corpus
    cpu: bool

    def run(self, shape: Shape, config: Training, *, cpu: bool) -> tuple[Outcome, list[list[int]]]:
        """Train once; the outcome, and the rows of each step."""
        with tempfile.TemporaryDirectory() as folder:
            return self.run_in(Path(folder), shape, config, cpu=cpu)

    def run_in(
        self, folder: Path, shape: Shape, config: Training, *, cpu: bool, listener: Listener | None = None
    ) -> tuple[Outcome, list[list[int]]]:
        """The same, with a folder for the checkpoint, which is gone on from."""
        forget_accelerator()
        dev = Split(self.corpus.dev.rows[:DEV_REVIEWS], self.corpus.dev.positive[:DEV_REVIEWS])
        task = _Traced(shape.model(SEED), self.corpus.some(REVIEWS), dev, config, self.corpus.ids)
        task.seen = []
        outcome = train(task, config, listener=listener or Silent(), checkpoint=folder / "checkpoint", cpu=cpu)
        return outcome, task.seen

    def learns(self, precision: Precision) -> Check:
        """A few reviews by heart."""
        config = replace(CONFIG, epochs=30, precision=precision, log_every_steps=10)
        outcome, _ = self.run(self.shape, config, cpu=self.cpu)
        first, last = outcome.epochs[0].train_loss, outcome.epochs[-1].train_loss
        return Check(
            f"learns in {precision}",
            last < LEARNED_LOSS,
            f"loss on {REVIEWS} reviews {first:.3f}, after {config.epochs} epochs {last:.3f}; {LEARNED_LOSS} wanted",
        )

    def same_as_cpu(self) -> list[Check]:
        """The order of the reviews, and the losses without dropout."""
        still = replace(self.shape, dropout=0.0, attention_dropout=0.0)
        here, rows_here = self.run(still, CONFIG, cpu=self.cpu)
        there, rows_there = self.run(still, CONFIG, cpu=True)
        difference = _largest(here.steps[:STEPS_COMPARED], there.steps[:STEPS_COMPARED])
        return [
            Check("same batches in the same order as on the CPU", rows_here == rows_there, f"{len(rows_here)} steps"),
            Check(
                "same losses as on the CPU, fp32, no dropout",
                difference <= DEVICES_DIFFER and len(here.steps) >= STEPS_COMPARED,
                f"they differ by at most {difference:.1e} in {STEPS_COMPARED} steps; {DEVICES_DIFFER:.0e} allowed",
            ),
        ]

    def resumes(self, precision: Precision) -> Check:
        """Cut off and taken up again, with dropout, against never cut off."""
        config = replace(CONFIG, precision=precision, checkpoint_every_steps=SAVED_EVERY)
        whole, _ = self.run(self.shape, config, cpu=self.cpu)
        again, _ = self.run(self.shape, config, cpu=self.cpu)
        with tempfile.TemporaryDirectory() as folder:
            try:
                self.run_in(Path(folder), self.shape, config, cpu=self.cpu, listener=_Cut())
            except KeyboardInterrupt:
                resumed, rows = self.run_in(Path(folder), self.shape, config, cpu=self.cpu)
        noise, difference = _largest(whole.steps, again.steps), _largest(whole.steps, resumed.steps)
        weights = max(float((whole.weights[name] - weight).abs().max()) for name, weight in resumed.weights.items())
        left = len(whole.steps) - CUT_AT // SAVED_EVERY * SAVED_EVERY
        return Check(
            f"cut off and resumed like never cut off, {precision}",
            difference <= max(RESUMED_DIFFERS, 3.0 * noise) and len(rows) == left,
            f"taken up at step {len(whole.steps) - len(rows)}; losses differ by at most {difference:.1e}, those of two "
            f"whole runs by {noise:.1e}, weights by {weights:.1e}",
        )


def _largest(first: Sequence[StepReport], second: Sequence[StepReport]) -> float:
    """The largest difference between the losses of two runs."""
    return max(abs(one.loss - other.loss) for one, other in zip(first, second, strict=True))


def markdown(table: list[list[str]]) -> str:
    """Header and rows as a Markdown table."""
    rows = [f"| {' | '.join(row)} |" for row in table]
    return "\n".join([rows[0], "|---" * len(table[0]) + "|", *rows[1:]])


def engine_checks(
    name: str, shapes: dict[str, Shape], folder: Path, precisions: Sequence[Precision], *, cpu: bool, seconds: float
) -> list[Check]:
    """Whether the serving engine answers on the device what it answers on the CPU; prints how fast it is."""
    from benchmarks.gpu_engine import MARK_REVIEWS_PER_S, MARK_SHARE, judged  # onnx

    corpus = Corpus.load(folder, shapes[name].architecture.vocabulary)
    checks = []
    for precision in precisions:
        found = judged(shapes[name], corpus, precision, cpu=cpu, seconds=seconds)
        checks.append(
            Check(
                f"{name} answers as on the CPU, {precision}",
                found.agrees,
                f"probabilities differ by at most {found.difference:.1e}, {found.flips:.2%} of the labels",
            )
        )
        print(f"\n## {name} without padding, {precision}\n\n{markdown(found.table())}\n")
        print(f"- {checks[-1].found}: {'yes' if found.agrees else '**NO**'}")
        print(
            f"- best: {found.best.reviews_per_s:,.0f} reviews/s (the mark for base in bf16 on one H100 is "
            f"{MARK_REVIEWS_PER_S:,.0f}), {found.best.of_ceiling:.0%} of the ceiling (mark {MARK_SHARE:.0%})",
            flush=True,
        )
    return checks


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu_check", description=__doc__)
    parser.add_argument("--nsmc", type=Path, help="folder with NSMC's files; else $NSMC_SOURCE, else the own sample")
    parser.add_argument("--seconds", type=float, default=5.0, help="about so long is a round of the speed tables")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rehearse", action="store_true", help="in little, on the CPU")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    if not (torch.cuda.is_available() or arguments.rehearse):
        print("There is no CUDA GPU here: nothing was checked.")
        sys.exit(2)
    cpu: bool = arguments.rehearse
    folder = nsmc_folder(arguments.nsmc)
    shapes = {"tiny": TINY} if cpu else SHAPES
    shape = next(iter(shapes.values()))
    precisions: list[Precision] = ["fp32"] if cpu else ["fp32", "fp16"]
    if not cpu and torch.cuda.is_bf16_supported():
        precisions.append("bf16")

    bench = Bench(shape, Corpus.load(folder, shape.architecture.vocabulary), cpu)
    device = "the CPU, as a rehearsal" if cpu else torch.cuda.get_device_name()
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    print(f"# Training on {device}\n\n{versions}; reviews of {folder}\n", flush=True)
    checks = [bench.learns(precision) for precision in precisions]
    checks += bench.same_as_cpu()
    checks += [bench.resumes(precision) for precision in precisions]
    outcome = [[check.name, "yes" if check.holds else "**NO**", check.found] for check in checks]
    print(markdown([["check", "holds", "found"], *outcome]), flush=True)

    for name, each in shapes.items():
        found = compare(
            each,
            Corpus.load(folder, each.architecture.vocabulary),
            precision=default_precision(cpu),
            cpu=cpu,
            seconds=arguments.seconds,
            rounds=arguments.rounds,
            limit=None,
        )
        notes = "\n".join(f"- {note}" for note in found.notes())
        print(f"\n## {name}\n\n{markdown(found.table())}\n\n{notes}", flush=True)
    if find_spec("onnx") is None:
        print("\n## The engine\n\nonnx is not installed: nothing was checked of the engine.")
    else:
        checks += engine_checks(
            "tiny" if cpu else "base", shapes, folder, precisions, cpu=cpu, seconds=arguments.seconds
        )
    sys.exit(0 if all(check.holds for check in checks) else 1)


if __name__ == "__main__":
    main()

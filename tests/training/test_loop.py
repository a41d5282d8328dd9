"""Training of a tiny model that has something to learn, in seconds."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from tests.training.toy import CONFIG, Recorder, digest, run, task
from training.config import Precision
from training.errors import CheckpointFailed, LossDiverged
from training.loop import train
from training.predict import logits

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).parent.parent.parent


def toy(folder: Path, *options: str, processes: int = 1, wait: bool = True) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    launch = [sys.executable, "-m"]
    if processes > 1:
        launch += ["torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
    process = subprocess.Popen(
        [*launch, "tests.training.toy", str(folder), *options],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    if wait:
        _, stderr = process.communicate(timeout=100)
        assert process.returncode == 0, stderr.decode()
    return process


def outcome_of(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "outcome.json").read_text())
    return result


def test_it_learns_and_reports(tmp_path: Path) -> None:
    recorder = Recorder()
    _, outcome = run(tmp_path, listener=recorder)
    assert outcome.best.dev_accuracy > 0.9
    assert [epoch.epoch for epoch in recorder.epochs] == [1, 2, 3, 4, 5, 6]
    assert recorder.steps[-1].step == recorder.steps[-1].total_steps == recorder.epochs[-1].step
    assert recorder.steps[-1].learning_rate == pytest.approx(0.0, abs=1e-9)
    assert recorder.steps[-1].loss < recorder.steps[0].loss
    assert outcome.steps == tuple(recorder.steps)
    assert outcome.epochs == tuple(recorder.epochs)


def test_the_model_holds_the_weights_of_the_best_epoch(tmp_path: Path) -> None:
    model, outcome = run(tmp_path, replace(CONFIG, learning_rate=0.02))
    assert outcome.best == max(outcome.epochs, key=lambda epoch: (epoch.dev_accuracy, -epoch.dev_loss))
    fresh = task()
    found = logits(model, fresh._dev.rows, fresh._ids.pad).argmax(axis=1)
    assert float((found == fresh._dev.positive).mean()) == pytest.approx(outcome.best.dev_accuracy)
    assert all(torch.equal(weight, outcome.weights[name]) for name, weight in model.state_dict().items())


def test_two_runs_are_the_same_to_the_bit(tmp_path: Path) -> None:
    assert digest(run(tmp_path / "a")[0]) == digest(run(tmp_path / "b")[0])


def test_each_training_of_a_process_has_its_own_precision(tmp_path: Path) -> None:
    expected = digest(run(tmp_path / "a")[0])
    _, rounded = run(tmp_path / "b", replace(CONFIG, precision="bf16"))
    assert rounded.best.dev_accuracy > 0.9
    assert digest(run(tmp_path / "c")[0]) == expected


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("step", [2, 6, 14], ids=["before any checkpoint", "at a checkpoint", "after an epoch"])
def test_an_interrupted_run_goes_on_to_the_same_weights_and_reports(
    tmp_path: Path, step: int, precision: Precision
) -> None:
    config = replace(CONFIG, average_decay=0.9, token_dropout=0.1, r_drop=0.5, precision=precision)
    whole, expected = run(tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", config, Recorder(stop_at_step=step))
    recorder = Recorder()
    model, outcome = run(tmp_path / "cut", config, recorder)
    assert digest(model) == digest(whole)
    assert [replace(report, reviews_per_s=0.0) for report in outcome.steps] == [
        replace(report, reviews_per_s=0.0) for report in expected.steps
    ]
    assert outcome.epochs == expected.epochs == tuple(recorder.epochs)
    assert recorder.steps[0].step > step - CONFIG.checkpoint_every_steps, "no more is lost than since the checkpoint"


def test_a_run_killed_in_the_middle_of_an_epoch_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    toy(tmp_path / "whole")
    killed = toy(tmp_path / "cut", "--slow", wait=False)
    progress = tmp_path / "cut" / "checkpoint" / "progress.json"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if progress.exists() and json.loads(progress.read_text() or "{}").get("step", 0) >= 6:
            break
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert json.loads(progress.read_text())["batch"] > 0, "it was in the middle of an epoch"
    toy(tmp_path / "cut")
    whole, resumed = outcome_of(tmp_path / "whole"), outcome_of(tmp_path / "cut")
    assert resumed["digest"] == whole["digest"]
    assert resumed["losses"] == whole["losses"]
    assert resumed["reported_now"][0] > whole["reported_now"][0], "what was done before is not done again"


def test_two_processes_and_accumulation_take_the_steps_of_one(tmp_path: Path) -> None:
    toy(tmp_path / "one", "--no-dropout")
    toy(tmp_path / "parts", "--no-dropout", "--accumulation", "3")
    toy(tmp_path / "two", "--no-dropout", processes=2)
    assert [outcome_of(tmp_path / name)["processes"] for name in ("one", "two")] == [1, 2]
    one = np.asarray(outcome_of(tmp_path / "one")["losses"])
    assert one[0] > one[-1] + 0.1, "there is something to differ in"
    for other in ("parts", "two"):
        np.testing.assert_allclose(outcome_of(tmp_path / other)["losses"], one, atol=1e-4)


def test_a_finished_run_whose_outcome_was_lost_is_not_trained_again(tmp_path: Path) -> None:
    first, _ = run(tmp_path)
    recorder = Recorder()
    again, outcome = run(tmp_path, listener=recorder)
    assert digest(again) == digest(first)
    assert not recorder.steps
    assert len(outcome.epochs) == CONFIG.epochs


def test_a_checkpoint_cut_off_between_its_renames_is_found(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, listener=Recorder(stop_at_step=8))
    (tmp_path / "checkpoint").rename(tmp_path / "checkpoint.old")
    recorder = Recorder()
    run(tmp_path, listener=recorder)
    assert recorder.steps[0].step > 6


def test_it_stops_when_dev_gets_no_better(tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=12, learning_rate=0.01, patience_epochs=2)
    _, outcome = run(tmp_path, config)
    assert len(outcome.epochs) == outcome.best.epoch + 2 < 12


def test_the_average_is_what_is_judged_and_kept(tmp_path: Path) -> None:
    plain, _ = run(tmp_path / "plain", replace(CONFIG, epochs=1))
    averaged, _ = run(tmp_path / "averaged", replace(CONFIG, epochs=1, average_decay=0.9))
    assert digest(plain) != digest(averaged)
    assert (
        max(float(weight.abs().max()) for weight in averaged.state_dict().values() if weight.is_floating_point()) < 10
    )


@pytest.mark.parametrize(
    "switch",
    [{"label_smoothing": 0.1}, {"r_drop": 1.0}, {"adversarial": 0.02}, {"token_dropout": 0.2}, {"layer_decay": 0.5}],
)
def test_each_switch_changes_what_is_learned_and_still_learns(tmp_path: Path, switch: dict[str, float]) -> None:
    plain, _ = run(tmp_path / "plain")
    changed, outcome = run(tmp_path / "changed", replace(CONFIG, **switch))  # type: ignore[arg-type]
    assert digest(plain) != digest(changed)
    assert outcome.best.dev_accuracy > 0.9


def test_a_loss_that_is_no_number_stops_with_a_remedy_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    learned = task()
    losses = learned.learn
    calls = 0

    def poisoned(*arguments: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return losses(*arguments) * (float("nan") if calls == 10 else 1.0)

    learned.learn = poisoned  # type: ignore[assignment, method-assign]
    with pytest.raises(LossDiverged, match=r"up to step 10 of .* is nan, not a number; lower train\.learning_rate"):
        train(learned, CONFIG, listener=Recorder(), checkpoint=tmp_path / "checkpoint", cpu=True)
    assert json.loads((tmp_path / "checkpoint" / "progress.json").read_text())["step"] == 9
    assert digest(run(tmp_path)[0]) == digest(run(tmp_path / "whole")[0])


def test_a_diverging_loss_stops(tmp_path: Path) -> None:
    with pytest.raises(LossDiverged, match=r"2 times that of the first report .* \(now 0\.9\)"):
        run(tmp_path, replace(CONFIG, learning_rate=0.9, clip_norm=1000.0, warmup_fraction=0.3, epochs=20))


def test_a_few_hard_rows_at_the_end_of_an_epoch_are_no_divergence(tmp_path: Path) -> None:
    learned = task()
    steps = len(learned.batches.epoch(0))
    losses, calls, hard = learned.learn, 0, range(0)

    def reported(*arguments: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return losses(*arguments) * (10.0 if calls in hard else 1.0)

    learned.learn = reported  # type: ignore[assignment, method-assign]
    config = replace(CONFIG, epochs=1, log_every_steps=steps // 2 - 1, checkpoint_every_steps=1000)
    assert 0 < steps - 2 * config.log_every_steps < config.log_every_steps, "a short report comes last"
    hard = range(2 * config.log_every_steps + 1, steps + 1)
    train(learned, config, listener=Recorder(), checkpoint=tmp_path / "hard", cpu=True)
    assert calls == steps

    calls, hard = 0, range(config.log_every_steps + 1, 2 * config.log_every_steps + 1)
    with pytest.raises(LossDiverged, match="2 times that of the first report"):
        train(learned, config, listener=Recorder(), checkpoint=tmp_path / "diverged", cpu=True)


@contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Accelerator, "save_state", refuse)
        yield


def test_a_full_disk_stops_with_a_remedy_and_keeps_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, listener=Recorder(stop_at_step=4))
    with full_disk(monkeypatch), pytest.raises(CheckpointFailed, match=r"step 6 cannot .* No space left .* goes on"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    assert json.loads((tmp_path / "checkpoint" / "progress.json").read_text())["step"] == 3
    assert digest(run(tmp_path)[0]) == digest(run(tmp_path / "whole")[0])

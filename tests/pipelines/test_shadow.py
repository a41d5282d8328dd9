"""What is made of a shadow log, and of one that is not there."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from data.labels import NeutralBand, Verdict
from pipelines import compare
from pipelines.errors import PipelineError
from pipelines.shadow import Share, read, report, summary
from serving.rollout.observed import Pair
from serving.rollout.state import State
from serving.rollout.store import Change, FileStore

BAND = NeutralBand(0.4, 0.6)


def pairs(count: int, *, shift: float = 0.0, noise: float = 0.05, seed: int = 0) -> list[Pair]:
    random = np.random.default_rng(seed)
    old = random.random(count)
    new = np.clip(old + shift + random.normal(0, noise, count), 0, 1)
    return [
        Pair.of(f"리뷰 {number}", Verdict.of(float(one), BAND), Verdict.of(float(other), BAND))
        for number, (one, other) in enumerate(zip(old, new, strict=True))
    ]


def test_figures_are_those_of_the_reviews_and_repetitions_count_once() -> None:
    log = pairs(2_000, shift=0.05)
    shadow = summary("m:1", "m:2", 3, [*log, *log[:500]])
    assert (shadow.pairs, shadow.reviews) == (2_500, 2_000)
    old, new = np.array([pair.old for pair in log]), np.array([pair.new for pair in log])
    moved = shadow.figures["P(positive)"]
    assert moved.difference == pytest.approx((new - old).mean())
    assert moved.low < moved.difference < moved.high
    assert shadow.other_side.share == pytest.approx(((old >= 0.5) != (new >= 0.5)).mean())
    assert sum(sum(row.values()) for row in shadow.moves.values()) == 2_000
    assert sum(shadow.figures[f"share of {name}"].old for name in ("부정", "중립", "긍정")) == pytest.approx(1)
    assert shadow.moves["중립"]["긍정"] == sum(
        (pair.old_sentiment, pair.new_sentiment) == ("중립", "긍정") for pair in log
    )


def test_intervals_hold_what_is_true_as_often_as_they_say() -> None:
    """Of 300 logs of a model that is the same but for noise, about 5 % may say that it is not."""
    wrong = 0
    for seed in range(300):
        moved = summary("m:1", "m:2", 1, pairs(200, seed=seed, noise=0.01)).figures["share of 긍정"]
        wrong += not moved.low <= 0.0 <= moved.high
    assert wrong <= 30
    assert Share.of(0, 50).high > 0.05
    assert Share.of(0, 50).low == 0.0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A rollout that goes on, with a log."""
    monkeypatch.setenv("ROLLOUT_FOLDER", str(tmp_path))
    monkeypatch.delenv("REDIS_URL", raising=False)
    store = FileStore(tmp_path)
    state = State.beginning("m:1").stage("m:2")
    asyncio.run(store.change(Change(state, "kim", "stage m:2", "", "m:1", "m:1", {}), 0))
    asyncio.run(store.log("w-1", state.trial, pairs(400)))
    return tmp_path


def test_the_command(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["compare", "--shadow"])
    compare.main()
    said = capsys.readouterr().out
    assert said.startswith("m:1 (old) and m:2 (new) on 400 reviews of 400 mirrored, trial 1")
    assert said.strip() == report(read(FileStore(folder), None))
    monkeypatch.setattr("sys.argv", ["compare", "--shadow", "--json", "--trial", "1"])
    compare.main()
    assert json.loads(capsys.readouterr().out)["reviews"] == 400


def test_after_a_promotion_the_new_one_is_the_live_one(folder: Path) -> None:
    store = FileStore(folder)
    state = State.beginning("m:1").stage("m:2").promote(0.0)
    asyncio.run(store.change(Change(state, "kim", "promote", "", "m:1", "m:2", {}), 1))
    asyncio.run(store.log("w-1", state.trial, pairs(10)))
    shadow = read(store, None)
    assert (shadow.old_tag, shadow.new_tag) == ("m:1", "m:2")
    assert read(store, 1).reviews == 400, "the trial before is still there"


def test_where_there_is_nothing_it_says_so(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="no two models are beside each other"):
        read(FileStore(tmp_path / "empty"), None)
    with pytest.raises(PipelineError, match="nothing was mirrored in trial 9"):
        read(FileStore(folder), 9)
    (folder / "state.json").write_text("{}")
    with pytest.raises(PipelineError, match="holds what nobody here wrote"):
        read(FileStore(folder), None)

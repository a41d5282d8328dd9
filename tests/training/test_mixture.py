import numpy as np
import pytest

from training.mixture import neutral_rows, resampled, taught

STARS = np.array([1, 2, 4] * 10 + [5, 6, 7, 8] * 10 + [9, 10] * 150)


def test_resampling_keeps_all_of_the_scarcer_class_at_the_prior() -> None:
    polar = resampled(STARS, positive_share=0.5, seed=1)
    assert (polar.labels == 0).sum() == (polar.labels == 1).sum() == 30
    assert (STARS[polar.rows][polar.labels == 0] <= 4).all()
    assert (STARS[polar.rows][polar.labels == 1] >= 9).all()
    assert len(set(polar.rows.tolist())) == 60
    skewed = resampled(STARS, positive_share=0.75, seed=1)
    assert (skewed.labels == 1).mean() == pytest.approx(0.75)
    assert (skewed.labels == 0).sum() == 30


def test_resampling_depends_on_the_seed_alone() -> None:
    first, second, other = (resampled(STARS, 0.5, seed).rows.tolist() for seed in (1, 1, 2))
    assert first == second != other


def test_neutral_rows_are_those_without_a_label() -> None:
    assert STARS[neutral_rows(STARS)].tolist() == [5, 6, 7, 8] * 10


def test_a_teacher_draws_targets_by_its_weight() -> None:
    targets, margins = np.array([0.0, 1.0]), np.array([0.0, -np.log(3.0)])
    assert taught(targets, margins, 0.0).tolist() == [0.0, 1.0]
    assert taught(targets, margins, 1.0) == pytest.approx([0.5, 0.25])
    assert taught(targets, margins, 0.5) == pytest.approx([0.25, 0.625])

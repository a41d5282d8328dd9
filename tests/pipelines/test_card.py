from typing import Any

from pipelines import profile
from pipelines.card import model_card
from pipelines.params import Params
from training.metrics import Scores

FIGURES = dict.fromkeys(Scores.__dataclass_fields__, 0.8125)
EVALUATION: dict[str, Any] = {
    "test": FIGURES | {"accuracy": 0.8734},
    "dev": FIGURES | {"accuracy": 0.8656},
    "test_intervals": {name: {"low": 0.8, "high": 0.9} for name in FIGURES},
    "baseline": {
        "accuracy": 0.8612,
        "difference": 0.0122,
        "difference_low": 0.0101,
        "difference_high": 0.0143,
        "mcnemar_p": 1.5e-9,
    },
    "slices": {"leaked": {"rows": 1_570, "accuracy": 0.9321}, "clean": {"rows": 0, "accuracy": None}},
    "behaviour": {"cases": 561, "failures": 99, "failure_rate": 99 / 561},
    "calibration": {"temperature": 0.623, "bias": -0.1},
    "neutral_band": {"low": 0.412, "high": 0.587},
}
TRAINING = {
    "lessons": 368_700,
    "lessons_by_source": {"train": 142_500, "polar": 226_200},
    "pretraining": {"texts": 543_835, "seconds": 3_000.0},
    "parameters": 3_400_000,
    "best_epoch": 2,
    "seconds": 1_961.0,
    "precision": "fp32",
}
DATA = {"splits": {"dev": {"rows": 7_500}, "test": {"rows": 49_997}}}


def test_the_card_has_the_runs_own_figures_in_both_languages() -> None:
    params = Params.check(profile.resolve("compact"), "compact")
    card = model_card(params, TRAINING, EVALUATION, DATA)
    korean, english = card.split("## English")
    for figure in ("368,700", "7,500", "49,997", "+1.22", "0.412", "0.587", "561", "99"):
        assert figure in korean
        assert figure in english
    assert "| accuracy / 정확도 | 0.8734 | 0.8000 – 0.9000 | 0.8656 |" in english
    assert "| all texts, without labels, in pretraining / 라벨 없이 사전 학습 | 543,835 |" in english
    assert "| train, with labels / 라벨 있는 train | 142,500 |" in english
    assert "| leaked | 1,570 | 0.9321 |" in english
    assert "| clean |" not in english, "no row for a part without reviews"
    assert card.startswith("# compact-electra · compact")

import hashlib
import json
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from data.behaviour import (
    CASES,
    WHOLE,
    BehaviourReport,
    CapabilityReport,
    Case,
    Direction,
    Kind,
    judge,
    regressions,
    suite,
)
from data.errors import SettingError
from data.text import clean

ROOT = Path(__file__).parent.parent.parent
SAMPLE = ROOT / "data" / "sample"
SUITE = suite()
PRAISE = Case("praise", "minimum", "좋다", label="긍정")
BLAME = Case("blame", "minimum", "나쁘다", label="부정")
SAME = Case("same", "invariance", "좋다", changed="좋다!")
Predict = Callable[[Sequence[str]], npt.NDArray[np.floating]]


def of_kind(kind: Kind) -> list[Case]:
    return [case for case in SUITE if case.kind == kind]


def told(answers: dict[str, float]) -> Predict:
    return lambda texts: np.array([answers[text] for text in texts])


def oracle(texts: Sequence[str]) -> npt.NDArray[np.floating]:
    """What a perfect model says: 0.98 and 0.02 by label, 0.5 for what may not move, and moves as they must be."""
    answers = dict.fromkeys((text for case in SUITE for text in case.texts), 0.5)
    answers |= {case.text: 0.98 if case.label == "긍정" else 0.02 for case in of_kind("minimum")}
    moves = {"up": 0.7, "down": 0.3, "not up": 0.5, "not down": 0.5}
    answers |= {str(case.changed): moves[str(case.direction)] for case in of_kind("direction")}
    return told(answers)(texts)


def moved(direction: Direction, before: float, after: float) -> bool:
    return Case("moves", "direction", "a", changed="b", direction=direction).fails((before, after))


def report(failed: Mapping[str, Sequence[int]], digest: str = "d") -> BehaviourReport:
    return BehaviourReport(
        digest, tuple(CapabilityReport(name, "minimum", 40, tuple(numbers), ()) for name, numbers in failed.items())
    )


def write(folder: Path, **files: Any) -> Path:
    for kind in ("minimum", "invariance", "direction"):
        text = (CASES / f"{kind}.json").read_text(encoding="utf-8")
        given = files.get(kind, text)
        (folder / f"{kind}.json").write_text(
            given if isinstance(given, str) else json.dumps(given, ensure_ascii=False), encoding="utf-8"
        )
    return folder


def test_the_suite_is_wide_and_deep() -> None:
    sizes = Counter(case.capability for case in SUITE)
    kinds = {kind: {case.capability for case in of_kind(kind)} for kind in ("minimum", "invariance", "direction")}
    assert len(SUITE) >= 340
    assert min(sizes.values()) >= 15
    assert {kind: len(names) for kind, names in kinds.items()} == {"minimum": 14, "invariance": 10, "direction": 7}


def test_no_text_is_there_twice_and_none_is_of_the_sample() -> None:
    texts = Counter(text for case in SUITE for text in case.texts)
    assert [text for text, times in texts.items() if times > 1] == []
    rows = [
        line.split("\t")[1] for path in SAMPLE.glob("*.txt") for line in path.read_text(encoding="utf-8").splitlines()
    ]
    assert len(rows) > 600
    assert not {re.sub(r"[\W_]", "", text) for text in texts} & {re.sub(r"[\W_]", "", row) for row in rows}


def test_both_labels_and_every_direction_are_asked_for_often() -> None:
    labels = Counter(case.label for case in of_kind("minimum"))
    directions = Counter(case.direction for case in of_kind("direction"))
    assert min(labels["긍정"], labels["부정"]) > 100
    assert min(directions[way] for way in ("up", "down", "not up", "not down")) >= 10


def test_files_have_a_case_a_line_in_letters_that_can_be_seen() -> None:
    for kind in ("minimum", "invariance", "direction"):
        text = (CASES / f"{kind}.json").read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if '"text"' in line]
        assert [json.loads(line.strip().rstrip(","))["text"] for line in lines] == [c.text for c in of_kind(kind)]
        assert not re.search("[\u200b-\u200f\ufe00-\ufe0f\u00a0]", text)
        escaped = {escape.lower() for escape in re.findall(r"\\u[0-9a-fA-F]{4}", text)}
        assert escaped <= {"\\ufe0f", "\\u200d"}


@pytest.mark.parametrize(
    ("capability", "essence"),
    [
        ("spacing", lambda text: "".join(text.split())),
        ("laughter_and_tears", lambda text: re.sub(r"([ㅋㅎㅠㅜㅡ])\1*", r"\1", text)),
        ("jamo_splits", lambda text: "".join(letters(character) for character in text)),
        ("markup", clean),
        ("punctuation", lambda text: re.sub(r"[\W_]", "", text)),
        ("width", lambda text: unicodedata.normalize("NFKC", text)),
        ("emoji", lambda text: re.sub("[^가-힣 ]", "", text)),
    ],
)
def test_mechanical_variants_differ_in_what_they_are_named_after_only(
    capability: str, essence: Callable[[str], str]
) -> None:
    cases = [case for case in SUITE if case.capability == capability]
    assert cases
    assert [case for case in cases if essence(case.text) != essence(str(case.changed))] == []


def letters(character: str) -> str:
    """Letters of a syllable as they stand alone: 개 and ㄱㅐ alike."""
    if not "가" <= character <= "힣":
        return character
    names = [unicodedata.name(part).split(" ", 2)[2] for part in unicodedata.normalize("NFD", character)]
    return "".join(unicodedata.lookup(f"HANGUL LETTER {name}") for name in names)


def test_an_oracle_fails_nothing() -> None:
    judged = judge(oracle)
    assert (judged.cases, judged.failures, judged.failure_rate) == (len(SUITE), 0, 0.0)
    assert all(capability.examples == () for capability in judged.capabilities)


def test_a_flipped_oracle_fails_all_labels_and_all_moves_that_must_be() -> None:
    judged = {each.name: each for each in judge(lambda texts: 1.0 - oracle(texts)).capabilities}
    for case in SUITE:
        if case.kind == "minimum" or case.capability in ("appended_blame", "appended_praise", "opposites"):
            assert judged[case.capability].failure_rate == 1.0
        elif case.kind == "invariance":
            assert judged[case.capability].failures == 0


@pytest.mark.parametrize(("constant", "missed"), [(1.0, "부정"), (0.0, "긍정"), (0.5, "부정")])
def test_a_constant_fails_one_label_and_all_moves_that_must_be(constant: float, missed: str) -> None:
    judged = judge(lambda texts: np.full(len(texts), constant))
    expected = {
        name: tuple(
            number
            for number, case in enumerate(each for each in SUITE if each.capability == name)
            if case.label == missed or case.direction in ("up", "down")
        )
        for name in dict.fromkeys(case.capability for case in SUITE)
    }
    assert {each.name: each.failed for each in judged.capabilities} == expected


def test_invariance_fails_by_a_flip_or_a_long_way() -> None:
    assert not SAME.fails((0.9, 0.71))
    assert not SAME.fails((0.71, 0.9))
    assert SAME.fails((0.9, 0.69))
    assert SAME.fails((0.69, 0.9))
    assert SAME.fails((0.5, 0.49))
    assert not SAME.fails((0.51, 0.5))


def test_a_move_counts_from_the_tolerance_on() -> None:
    assert not moved("up", 0.5, 0.56)
    assert moved("up", 0.5, 0.54)
    assert moved("up", 0.5, 0.4)
    assert not moved("down", 0.5, 0.44)
    assert moved("down", 0.5, 0.46)
    assert moved("down", 0.5, 0.6)
    assert not moved("not down", 0.5, 0.46)
    assert moved("not down", 0.5, 0.44)
    assert not moved("not up", 0.5, 0.54)
    assert moved("not up", 0.5, 0.56)


def test_predict_is_asked_once_for_each_distinct_text() -> None:
    asked: list[Sequence[str]] = []

    def predict(texts: Sequence[str]) -> npt.NDArray[np.floating]:
        asked.append(texts)
        return np.full(len(texts), 0.25, dtype=np.float32)

    judged = judge(predict, [PRAISE, SAME, BLAME])
    assert asked == [["좋다", "좋다!", "나쁘다"]]
    assert [(each.name, each.kind, each.failed) for each in judged.capabilities] == [
        ("praise", "minimum", (0,)),
        ("same", "invariance", ()),
        ("blame", "minimum", ()),
    ]
    assert judged.failure_rate == pytest.approx(1 / 3)


def test_examples_are_the_first_that_failed() -> None:
    cases = [Case("praise", "minimum", f"좋다 {number}", label="긍정") for number in range(9)]
    (praise,) = judge(lambda texts: np.linspace(0.9, 0.1, len(texts)), cases).capabilities
    assert (praise.cases, praise.failed, praise.failures) == (9, (5, 6, 7, 8), 4)
    assert [(each.texts, each.expected) for each in praise.examples][:2] == [
        (("좋다 5",), "긍정"),
        (("좋다 6",), "긍정"),
    ]
    assert [each.positive[0] for each in praise.examples] == pytest.approx([0.4, 0.3, 0.2, 0.1])
    (all_fail,) = judge(lambda texts: np.zeros(len(texts)), cases).capabilities
    assert [each.texts[0] for each in all_fail.examples] == [f"좋다 {number}" for number in range(5)]


def test_examples_of_pairs_show_both_ends() -> None:
    worse = Case("worse", "direction", "좋다", changed="좋지 않다", direction="down")
    same, moves = judge(told({"좋다": 0.75, "좋다!": 0.25, "좋지 않다": 0.875}), [SAME, worse]).capabilities
    assert (same.examples[0].positive, same.examples[0].expected) == ((0.75, 0.25), "same")
    assert (moves.examples[0].texts, moves.examples[0].positive) == (("좋다", "좋지 않다"), (0.75, 0.875))
    assert moves.examples[0].expected == "down"


@pytest.mark.parametrize("answer", [np.zeros(2), np.zeros((1, 1)), np.array([np.nan]), np.array([1.5]), np.array([-1])])
def test_what_is_no_probability_is_refused(answer: npt.NDArray[np.floating]) -> None:
    with pytest.raises(SettingError, match="must be probabilities"):
        judge(lambda texts: answer, [PRAISE])


def test_no_cases_and_mixed_kinds_are_refused() -> None:
    with pytest.raises(SettingError, match="at least one case"):
        judge(lambda texts: np.zeros(len(texts)), [])
    with pytest.raises(SettingError, match="another kind"):
        judge(lambda texts: np.zeros(len(texts)), [SAME, Case("same", "minimum", "나쁘다", label="부정")])


def test_a_report_survives_json() -> None:
    judged = judge(lambda texts: np.array([int(hashlib.sha256(text.encode()).hexdigest(), 16) % 2 for text in texts]))
    assert 0.2 < judged.failure_rate < 0.8
    written = judged.as_dict()
    assert json.loads(json.dumps(written)) == written
    assert BehaviourReport.from_dict(written) == judged
    assert written["failures"] == judged.failures
    assert written["capabilities"][0]["failure_rate"] == judged.capabilities[0].failure_rate


@pytest.mark.parametrize(
    "change", [{"failed": [1, 1]}, {"failed": [40]}, {"failed": [-1]}, {"cases": 0, "failed": []}, {"failed": None}]
)
def test_what_is_no_report_is_refused(change: dict[str, Any]) -> None:
    written = report({"praise": [0]}).as_dict()
    assert BehaviourReport.from_dict(written) == report({"praise": [0]})
    written["capabilities"][0] |= change
    with pytest.raises(SettingError):
        BehaviourReport.from_dict(written)
    with pytest.raises(SettingError, match="suite_digest"):
        BehaviourReport.from_dict({"capabilities": []})


def test_the_digest_names_cases_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(*cases: Case) -> str:
        return judge(lambda texts: np.zeros(len(texts)), cases).suite_digest

    first = digest(PRAISE, BLAME)
    assert re.fullmatch("[0-9a-f]{64}", first)
    assert judge(lambda texts: np.ones(len(texts)), [PRAISE, BLAME]).suite_digest == first
    others = {digest(BLAME, PRAISE), digest(PRAISE), digest(Case("praise", "minimum", "좋다", label="부정"), BLAME)}
    monkeypatch.setattr("data.behaviour.INVARIANCE_TOLERANCE", 0.3)
    assert len({first, digest(PRAISE, BLAME), *others}) == 5


def test_a_capability_that_got_much_worse_is_named() -> None:
    champion = report({"praise": [0], "blame": [1, 2], "same": []})
    candidate = report({"praise": range(11), "blame": [2, 3], "same": [5]})
    praise, whole = regressions(candidate, champion, 0.05)
    assert (praise.capability, praise.only_candidate, praise.only_champion) == ("praise", 10, 0)
    assert praise.p_value == pytest.approx(4 * 2**-10)
    assert (whole.capability, whole.only_candidate, whole.only_champion) == (WHOLE, 12, 1)
    assert whole.p_value == pytest.approx(3 * 14 / 2**13)  # Holm: the second smallest of four
    assert regressions(champion, candidate, 0.05) == []
    assert regressions(candidate, candidate, 0.99) == []


def test_adjusted_p_values_never_fall() -> None:
    candidate = report({"praise": range(6), "blame": range(6), "same": []})
    assert [each.p_value for each in regressions(candidate, report({"praise": [], "blame": [], "same": []}), 0.1)] == [
        pytest.approx(3 / 64),
        pytest.approx(3 / 64),
        pytest.approx(4 / 4096),
    ]


def test_the_correction_grows_with_the_suite() -> None:
    champion, candidate = report({"praise": []}), report({"praise": range(6)})
    assert [each.capability for each in regressions(candidate, champion, 0.05)] == ["praise", WHOLE]  # 2 / 64
    others: dict[str, Sequence[int]] = {"blame": [], "same": []}
    assert regressions(report({"praise": range(6), **others}), report({"praise": [], **others}), 0.05) == []  # 4 / 64


def test_many_small_losses_show_in_the_whole_only() -> None:
    names = [f"capability_{letter}" for letter in "abcdefgh"]
    champion = report(dict.fromkeys(names, (9,)))
    candidate = report(dict.fromkeys(names, (1, 2, 3)))
    (only,) = regressions(candidate, champion, 0.05)
    assert (only.capability, only.only_candidate, only.only_champion) == (WHOLE, 24, 8)
    assert only.p_value == pytest.approx(9 * 0.0035, abs=2e-4)  # 9 tests; P(X >= 24), X of 32 throws of a coin


def test_equal_counts_on_other_cases_are_no_regression() -> None:
    assert regressions(report({"praise": range(20)}), report({"praise": range(20, 40)}), 0.05) == []


def test_reports_on_different_suites_are_not_compared() -> None:
    with pytest.raises(SettingError, match="different suites"):
        regressions(report({"praise": []}, "one"), report({"praise": []}, "two"), 0.05)


@pytest.mark.parametrize("significance", [0.0, 1.0, -0.1, float("nan")])
def test_significance_is_a_probability(significance: float) -> None:
    with pytest.raises(SettingError, match="significance"):
        regressions(report({"praise": []}), report({"praise": []}), significance)


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"minimum": "{"}, "minimum.json cannot be read"),
        ({"minimum": '{"praise": [{"text": "가", "label": "긍정"}], "praise": []}'}, "given twice"),
        ({"minimum": [1]}, "object of lists"),
        ({"direction": {"empty": []}}, "none empty"),
        ({"minimum": {"praise": ["좋다"]}}, "praise: '좋다'"),
        ({"minimum": {"praise": [{"text": "좋다"}]}}, "praise: {'text': '좋다'}"),
        ({"minimum": {"praise": [{"text": "좋다", "label": "긍정", "note": ""}]}}, "'note'"),
        ({"minimum": {"praise": [{"text": "좋다", "label": 1}]}}, "'label': 1"),
        ({"minimum": {"praise": [{"text": "좋다", "label": "positive"}]}}, "'positive' of Case.*praise"),
        ({"minimum": {"praise": [{"text": " ", "label": "긍정"}]}}, "must hold something"),
        ({"minimum": {"Praise 1": [{"text": "좋다", "label": "긍정"}]}}, "capability of Case.*Praise 1"),
        ({"minimum": {WHOLE: [{"text": "좋다", "label": "긍정"}]}}, "other than 'suite'"),
        ({"minimum": {"praise": [{"text": "좋다", "label": "긍정"}] * 2}}, "'좋다'. is in the suite 2 times"),
        ({"minimum": {"spacing": [{"text": "좋다", "label": "긍정"}]}}, "another kind"),
        ({"invariance": {"same": [{"text": "좋다", "changed": "좋다"}]}}, "and differ"),
        ({"direction": {"moves": [{"text": "좋다", "changed": "싫다", "direction": "left"}]}}, "'left' of Case"),
    ],
)
def test_a_bad_case_is_named(tmp_path: Path, files: dict[str, Any], named: str) -> None:
    assert suite(write(tmp_path)) == SUITE
    with pytest.raises(SettingError, match=named):
        suite(write(tmp_path, **files))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (write(tmp_path) / "direction.json").unlink()
    with pytest.raises(SettingError, match=r"direction\.json cannot be read"):
        suite(tmp_path)


def test_a_case_has_what_its_kind_asks_for() -> None:
    with pytest.raises(SettingError, match="by kind"):
        Case("praise", "minimum", "좋다")
    with pytest.raises(SettingError, match="by kind"):
        Case("praise", "minimum", "좋다", label="긍정", changed="싫다")
    with pytest.raises(SettingError, match="by kind"):
        Case("same", "invariance", "좋다", changed="좋다!", direction="up")
    with pytest.raises(SettingError, match="by kind"):
        Case("other", "fuzz", "좋다")  # type: ignore[arg-type]


def test_importing_needs_no_client() -> None:
    clients = ["pydantic", "mlflow", "datasets", "dvc", "sklearn", "torch", "transformers"]
    code = f"import sys, data.behaviour; print(set({clients}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"

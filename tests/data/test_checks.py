"""The report's arithmetic on a handful of rows; `tests/pipelines/test_prepare.py` has it on the sample."""

from data.checks import Lengths, data_report, file_report, overlap
from data.nsmc import Review


def reviews(*pairs: tuple[str, int]) -> list[Review]:
    return [Review(str(number), text, label) for number, (text, label) in enumerate(pairs)]


TRAIN = reviews(("굿", 1), ("굿", 1), ("굿", 0), ("별로", 0), ("", 1), ("최고", 1), ("반반", 0), ("반반", 1))
TEST = reviews(("굿", 1), ("굿", 0), ("별로", 1), ("", 1), ("새로움", 0), ("반반", 1))


def test_file_report() -> None:
    report = file_report(TRAIN)
    assert (report.rows, report.empty, report.distinct_texts, report.duplicate_rows) == (8, 1, 5, 3)
    assert (report.conflicting_texts, report.positive) == (2, 5)


def test_overlap_counts_what_memory_alone_would_answer() -> None:
    report = overlap(TRAIN, TEST)
    assert (report.rows, report.rows_without_empty) == (5, 4)
    # 굿/0 against its majority; 별로/1 was never seen; 반반/1 against the label that came first in a tie
    assert (report.contradicting_majority, report.label_never_seen) == (3, 1)


def test_lengths() -> None:
    assert Lengths.of([1, 2, 3, 10]).max == 10
    assert Lengths.of([]).mean == 0.0


def test_report_is_plain_json() -> None:
    report = data_report(TRAIN, TEST)
    assert set(report) == {"train", "test", "overlap"}
    assert report["train"]["length_characters"]["max"] == 2

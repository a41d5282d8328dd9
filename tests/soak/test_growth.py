"""What the tables of ``make soak`` say of samples that are known."""

import math
from collections.abc import Sequence

from tests.soak.growth import Compared, Sample, Usage, compared, slope
from tests.soak.report import HANDFUL, of_growth

SECONDS = 1_800.0
WORKERS = ("worker 1", "worker 2")


def sample(
    at_s: float, rss_mib: float = 200.0, *, quiet: bool = True, descriptors: Sequence[int] = (40, 40), threads: int = 10
) -> Sample:
    usages = {
        name: Usage(rss_mib, rss_mib / 2, rss_mib / 3, opened, threads)
        for name, opened in zip(WORKERS, descriptors, strict=True)
    }
    return Sample(at_s, quiet, usages)


def run(*, until: float = SECONDS) -> list[Sample]:
    return [sample(5.0 * number) for number in range(1, int(until / 5.0) + 1)]


def found(samples: Sequence[Sample], warm_s: float = 0.0) -> Compared:
    result = compared(samples, SECONDS, warm_s)
    assert result is not None
    return result


def verdicts(result: Compared | None) -> dict[str, bool]:
    return {mark.name: mark.holds for mark in of_growth(result)}


def test_of_half_an_hour_minutes_3_to_8_are_held_against_the_last_6() -> None:
    result = found(run())
    assert (result.early[0].at_s, result.early[-1].at_s) == (180.0, 475.0)
    assert (result.late[0].at_s, result.late[-1].at_s) == (1_440.0, 1_800.0)
    assert (result.all[0], result.all[-1]) == (result.early[0], result.late[-1])


def test_the_warm_up_lasts_until_all_was_done_once() -> None:
    result = found(run(), warm_s=300.0)
    assert (result.early[0].at_s, result.early[-1].at_s) == (300.0, 595.0)


def test_what_is_sampled_while_something_changes_does_not_count() -> None:
    busy = [sample(5.0 * number + 1.0, 900.0, quiet=False, descriptors=(90, 90)) for number in range(360)]
    assert found([*run(), *busy]).growth(lambda each: each.usages["worker 1"].rss_mib).share == 0.0


def test_too_few_samples_say_nothing() -> None:
    assert compared([], SECONDS, 0.0) is None
    assert compared(run(until=190.0), SECONDS, 0.0) is None, "they are early and late"
    assert compared(run(), SECONDS, SECONDS) is None, "it was warm at the end only"
    assert verdicts(None) == {"memory, descriptors": False}


def test_rare_samples_are_taken_from_further_off() -> None:
    rare = [sample(at_s) for at_s in (200.0, 400.0, 600.0, 800.0, 1_000.0, 1_200.0, 1_400.0, 1_700.0)]
    result = found(rare)
    assert [each.at_s for each in result.early] == [200.0, 400.0, 600.0]
    assert [each.at_s for each in result.late] == [1_200.0, 1_400.0, 1_700.0]


def test_memory_may_grow_by_less_than_the_mark() -> None:
    grown = [sample(each.at_s, 200.0 + (5.9 if each.at_s > 1_000.0 else 0.0)) for each in run()]
    assert all(verdicts(found(grown)).values())
    grown = [sample(each.at_s, 200.0 + (6.1 if each.at_s > 1_000.0 else 0.0)) for each in run()]
    assert verdicts(found(grown)) == {
        "memory of worker 1": False, "memory of worker 2": False, "file descriptors": True, "threads": True,
    }  # fmt: skip
    odd = [sample(each.at_s, 900.0 if each.at_s in (1_500.0, 1_600.0) else 200.0) for each in run()]
    assert all(verdicts(found(odd)).values()), "a median does not heed single samples"


def test_connections_that_go_to_the_other_worker_are_no_growth() -> None:
    moved = [sample(each.at_s, descriptors=(40, 60) if each.at_s < 900.0 else (60, 40)) for each in run()]
    assert verdicts(found(moved))["file descriptors"]


def test_descriptors_that_jump_or_creep_are_not_flat() -> None:
    jumped = [sample(each.at_s, descriptors=(40 + (HANDFUL + 1) * (each.at_s > 900.0), 40)) for each in run()]
    assert not verdicts(found(jumped))["file descriptors"]
    crept = [sample(each.at_s, descriptors=(40 + int(each.at_s / 240.0), 40)) for each in run()]
    assert not verdicts(found(crept))["file descriptors"]
    few = [sample(each.at_s, threads=10 + (each.at_s > 900.0)) for each in run()]
    assert verdicts(found(few))["threads"], "two of both"


def test_the_slope_is_that_of_most_pairs() -> None:
    times = [float(number) for number in range(20)]
    assert math.isclose(slope(times, [3.0 * at + (500.0 if at == 7.0 else 0.0) for at in times]), 3.0)
    assert slope([1.0], [1.0]) == 0.0
    assert slope([1.0, 1.0], [1.0, 2.0]) == 0.0

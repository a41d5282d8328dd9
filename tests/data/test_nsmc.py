from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import FormatError
from data.nsmc import Review, read, write

LABELLED = st.builds(
    Review,
    id=st.text(alphabet="0123456789", min_size=1),
    text=st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"])),
    label=st.sampled_from([0, 1]),
)


@given(reviews=st.lists(LABELLED, max_size=5))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, reviews: list[Review]) -> None:
    path = tmp_path_factory.mktemp("nsmc") / "reviews.txt"
    write(path, reviews)
    assert list(read(path)) == reviews


def test_quotes_are_read_as_csv_does(tmp_path: Path) -> None:
    path = tmp_path / "reviews.txt"
    path.write_text('id\tdocument\tlabel\n1\t"""명작"" 이다"\t1\n2\t\t0\n', encoding="utf-8")
    assert list(read(path)) == [Review("1", '"명작" 이다', 1), Review("2", "", 0)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "header is"),
        ("id,document,label\n", "header is"),
        ("id\tdocument\tlabel\n1\t좋다\n", r"line 2: 2 fields; there must be 3"),
        ("id\tdocument\tlabel\n1\t좋다\t1\n2\t별로\t3\n", r"line 3: label is '3'; it must be 0 or 1"),
        ("id\tdocument\tlabel\n1\t좋다\t긍정\n", "label is '긍정'"),
        ('id\tdocument\tlabel\n1\t"좋다\t1\n', "not tab-separated"),
    ],
)
def test_bad_files_name_the_line_and_the_problem(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "reviews.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        list(read(path))


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "reviews.txt"
    path.write_bytes("id\tdocument\tlabel\n1\t좋다\t1\n".encode("cp949"))
    with pytest.raises(FormatError, match="is not UTF-8"):
        list(read(path))

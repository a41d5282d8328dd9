from pipelines.table import text_table


def test_tables_line_up() -> None:
    assert text_table(("name", "n"), [("a", "1"), ("longer", "22")]) == "name     n\na        1\nlonger  22"
    assert text_table(("name", "n"), []) == "name  n"

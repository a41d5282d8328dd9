"""``python -m serving.access``, as an operator types it."""

import os
import subprocess
import sys
from pathlib import Path

from serving.access.keys import split


def run(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "KEYS_FILE": str(file)}
    return subprocess.run(
        [sys.executable, "-m", "serving.access", *arguments], env=variables, capture_output=True, text=True, check=False
    )


def test_a_key_from_its_making_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    made = run(file, "create", "kim", "--scopes", "predict,feedback", "--days", "30")
    assert made.returncode == 0, made.stderr
    identifier, secret = split(made.stdout.strip()) or ("", "")
    assert f"{identifier}  kim: predict,feedback; live" in made.stderr
    listed = run(file, "list").stdout
    assert f"{identifier}  kim: predict,feedback; live; " in listed
    assert secret not in listed + made.stderr + file.read_text()
    assert "; revoked 20" in run(file, "revoke", identifier).stdout
    assert "; revoked 20" in run(file, "list").stdout


def test_what_cannot_be_done_is_one_line(tmp_path: Path) -> None:
    for arguments, said in (
        (("create", "kim", "--scopes", "all"), "error: scopes are all; they must be among predict, feedback, admin"),
        (("revoke", "abc"), "error: there is no key 'abc'; there are: none"),
    ):
        done = run(tmp_path / "keys.json", *arguments)
        assert (done.returncode, done.stderr.strip(), done.stdout) == (1, said, "")

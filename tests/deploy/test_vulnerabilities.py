"""An audit that could not ask is no audit."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy import vulnerabilities

KNOWN = {"name": "a", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1", "2.0"]}]}
CLEAN = {"name": "b", "version": "2.0", "vulns": []}
SKIPPED = {"name": "c", "skip_reason": "Dependency not found"}
UNREACHED = "WARNING: a remark\nrequests.exceptions.ConnectionError: no such host"


def run(monkeypatch: pytest.MonkeyPatch, output: str, errors: str = "") -> int:
    def audit(line: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert line[-2:] == ["--requirement", "requirements/serve.txt"]
        return subprocess.CompletedProcess(line, 1, output, errors)

    monkeypatch.setattr(subprocess, "run", audit)
    monkeypatch.setattr("sys.argv", ["vulnerabilities", "requirements/serve.txt"])
    return vulnerabilities.main()


@pytest.mark.parametrize(
    ("packages", "code", "says"),
    [
        ([CLEAN], 0, "requirements/serve.txt: 1 packages, 0 known vulnerabilities\n"),
        (
            [CLEAN, KNOWN],
            1,
            "requirements/serve.txt: 2 packages, 1 known vulnerabilities\n  a 1.0: PYSEC-1, fixed in 1.1, 2.0\n",
        ),
    ],
)
def test_what_is_known_is_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], packages: list[Any], code: int, says: str
) -> None:
    assert run(monkeypatch, json.dumps({"dependencies": packages})) == code
    assert capsys.readouterr().out == says


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("", "pypi cannot be asked for known vulnerabilities from here: requests.exceptions.ConnectionError: no such"),
        (
            json.dumps({"dependencies": [CLEAN, SKIPPED]}),
            "says nothing of 1 of the 2 packages in requirements/serve.txt",
        ),
    ],
)
def test_a_service_that_does_not_answer_is_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], output: str, says: str
) -> None:
    assert run(monkeypatch, output, UNREACHED) == 1
    said = capsys.readouterr()
    assert not said.out
    assert says in said.err
    assert said.err.count("\n") == 1


def test_every_lock_is_audited() -> None:
    there = {path for path in Path("requirements").iterdir() if path.stem != "train"}
    assert set(vulnerabilities.LOCKS) == there

"""Around DVC's command line, whose answers are made up; ``tests/e2e/test_sweep.py`` has the real one."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from pipelines.errors import PipelineError, SettingsError
from pipelines.experiments import Experiment, Queue, starting_point


def git(*arguments: str) -> None:
    identity = ("-c", "user.name=tests", "-c", "user.email=tests@localhost")
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


def test_experiments_start_from_a_commit_that_knows_the_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(SettingsError, match="need a git repository with a commit"):
        starting_point()
    git("init")
    with pytest.raises(SettingsError, match="need a git repository with a commit"):
        starting_point()
    (tmp_path / "params.yaml").touch()
    git("add", "params.yaml")
    git("commit", "--message", "first")
    assert len(starting_point()) == 40
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "new.py").touch()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(SettingsError, match=r"^git does not know pipelines/new.py; `git add` it"):
        starting_point()
    git("add", "pipelines")
    assert len(starting_point()) == 40


class Said(Queue):
    """A queue on which DVC's commands print what is given, and are noted."""

    def __init__(self, *answers: str) -> None:
        super().__init__({})
        self.answers, self.commands = list(answers), list[str]()

    def _dvc(self, *arguments: str) -> str:
        self.commands.append(" ".join(arguments))
        answer = self.answers.pop(0)
        if answer.startswith("ERROR"):
            raise PipelineError(answer)
        return answer


def tasks(*named: str) -> str:
    """What ``dvc queue status`` prints."""
    rows = (f"3823dd{number}  {each.split()[0]}     09:17 PM   {each.split()[1]}" for number, each in enumerate(named))
    return "\n".join(("Task     Name    Created    Status", *rows, "", "Worker status: 0 active, 0 idle"))


def test_a_queue_in_use_is_left_alone() -> None:
    with pytest.raises(PipelineError, match=r"DVC's queue holds mine, yours; .*dvc queue kill mine"):
        Said(tasks("mine Running", "yours Queued", "done Success")).claim()
    idle = Said(tasks("done Success", "bad Failed"), "")
    idle.claim()
    assert idle.commands == ["queue status", "queue stop"]


def test_settings_are_put_in_words_that_dvc_reads() -> None:
    queue = Said("")
    queue.put("one", {"train.learning_rate": 3e-05, "train.precision": "fp32", "compose.polar": True}, "evaluate")
    assert queue.commands == [
        "exp run --queue --name one --set-param=train.learning_rate=3e-05 "
        '--set-param=train.precision="fp32" --set-param=compose.polar=true evaluate'
    ]


def test_what_is_ours_does_not_stay_in_the_queue() -> None:
    queue = Said("", "", "", tasks("a Success", "b Queued", "c Running", "theirs Queued"), "", tasks("c Running"), "")
    with queue.tidied():
        for name in "abc":
            queue.put(name, {}, "evaluate")
    assert queue.commands[3:] == ["queue status", "queue remove b", "queue status", "queue kill c"]


def test_one_that_is_begun_while_it_is_withdrawn_is_no_trouble() -> None:
    both, one = tasks("a Queued", "b Queued"), tasks("a Running", "b Queued")
    queue = Said("", "", both, "ERROR: no such task", one, "", tasks("a Failed"))
    with pytest.raises(KeyboardInterrupt), queue.tidied():
        queue.put("a", {}, "evaluate")
        queue.put("b", {}, "evaluate")
        raise KeyboardInterrupt
    assert queue.commands[-4:] == ["queue remove a b", "queue status", "queue remove b", "queue status"]


def test_experiments_are_read_from_what_dvc_shows() -> None:
    metrics = {"e.json": {"data": {"dev": {"accuracy": 0.5}}}, "t.json": {"error": {"type": "FileNotFoundError"}}}
    rows = [
        {"name": "a", "revs": [{"data": {"metrics": metrics}}], "executor": {"state": "success"}},
        {"name": "b", "revs": [{"data": None}], "executor": {"state": "queued"}},
        {"name": "c", "revs": [{"data": {"metrics": {}}}], "executor": None},
    ]
    queue = Said(json.dumps([{"experiments": None}, {"experiments": rows}]))
    assert queue.look("c" * 40) == {
        "a": Experiment("success", {"e.json": {"dev": {"accuracy": 0.5}}, "t.json": None}),
        "b": Experiment("queued", {}),
        "c": Experiment("success", {}),
    }


def test_the_log_is_the_end_of_it_or_why_there_is_none() -> None:
    assert Said("1\n2\n3\n").log("a", lines=2) == "2\n3"
    assert Said("ERROR: no log").log("a") == "ERROR: no log"


def test_what_dvc_says_reaches_the_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match=r"^dvc queue status failed: .*not inside of a DVC repository"):
        Queue(dict(os.environ)).claim()

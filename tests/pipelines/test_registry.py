"""Against a real MLflow store on SQLite."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from mlflow.tracking import MlflowClient

from data.bundle import Bundle
from data.ledger import LedgerBroken
from pipelines.audit import check
from pipelines.errors import RegistryError
from pipelines.lineage import DatasetUse
from pipelines.params import Register
from pipelines.registry import BUNDLE, DIGEST_TAG, ROWS_TAG, Registry, redacted
from tests.models import write_bundle

NAMES = Register(experiment="tests", model="tiny")
CARD = "# a card"
USES = [DatasetUse("train", "a" * 64, "training", "somewhere")]


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Registry(NAMES)


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "other", seed=1)


def start(registry: Registry) -> str:
    return registry.start_run("demo", {"train": {"epochs": 3}, "profile": "demo"}, USES, commit="c" * 40)


def test_a_run_holds_settings_data_and_curves(registry: Registry) -> None:
    run_id = start(registry)
    with registry.finishing(run_id):
        registry.log_metrics(run_id, {"loss": 0.5}, step=1)
        registry.log_metrics(run_id, {"loss": 0.25}, step=2)
    client = MlflowClient(registry.uri)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"train.epochs": "3", "profile": "demo"}
    assert run.data.tags["git_commit"] == "c" * 40
    assert run.data.tags["train_sha256"] == "a" * 64
    assert run.inputs is not None
    assert [use.dataset.name for use in run.inputs.dataset_inputs] == ["train"]
    assert [(point.step, point.value) for point in client.get_metric_history(run_id, "loss")] == [(1, 0.5), (2, 0.25)]


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_that_ends_badly_says_so(registry: Registry, error: type[BaseException], status: str) -> None:
    run_id = start(registry)
    with pytest.raises(error), registry.finishing(run_id):
        raise error
    assert MlflowClient(registry.uri).get_run(run_id).info.status == status


def test_registering_is_idempotent_by_digest(registry: Registry, bundle: Bundle, other: Bundle) -> None:
    first = registry.register(start(registry), bundle, {ROWS_TAG: "rows"}, CARD)
    again = registry.register(start(registry), bundle, {ROWS_TAG: "rows"}, CARD)
    assert first == again
    assert (first.number, first.digest, first.test_rows) == (1, bundle.manifest.digest, "rows")
    second = registry.register(start(registry), other, {}, CARD)
    assert second.number == 2
    client = MlflowClient(registry.uri)
    assert int(client.get_model_version_by_alias("tiny", "candidate").version) == 2
    assert client.get_model_version("tiny", "1").tags[DIGEST_TAG] == bundle.manifest.digest


def test_aliases_move_and_remember_the_one_before(registry: Registry, bundle: Bundle, other: Bundle) -> None:
    assert registry.champion() is None
    first, second = (registry.register(start(registry), each, {}, CARD) for each in (bundle, other))
    registry.promote(first, "the first", {})
    registry.promote(first, "again", {})
    assert registry.champion() == first
    registry.promote(second, "better", {"gain": 0.5})
    assert registry.champion() == second
    assert int(MlflowClient(registry.uri).get_model_version_by_alias("tiny", "previous").version) == 1


def test_every_promotion_is_noted_once(registry: Registry, bundle: Bundle, other: Bundle) -> None:
    assert registry.promotions() == []
    first, second = (registry.register(start(registry), each, {}, CARD) for each in (bundle, other))
    registry.promote(first, "the first", {})
    registry.promote(first, "again", {})
    registry.promote(second, "더 낫다" * 1_000, {"gain": 0.5})
    registry.promote(first, "back", {})
    entries = registry.promotions()
    assert [(e.number, e.before, e.after) for e in entries] == [(1, None, "1"), (2, "1", "2"), (3, "2", "1")]
    assert (entries[0].why, entries[1].figures, len(entries[1].why)) == ("the first", {"gain": 0.5}, 2_000)
    check(entries, registry.champion())


def test_an_interrupted_promotion_is_finished_and_not_noted_twice(
    registry: Registry, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = registry.register(start(registry), bundle, {}, CARD)
    with monkeypatch.context() as broken:
        broken.setattr(registry._client, "set_registered_model_alias", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            registry.promote(version, "the first", {})
    assert (registry.champion(), len(registry.promotions())) == (None, 1)
    registry.promote(version, "the first", {})
    assert (registry.champion(), len(registry.promotions())) == (version, 1)


def test_a_log_that_was_changed_and_an_alias_that_was_moved_by_hand_are_found(
    registry: Registry, bundle: Bundle, other: Bundle
) -> None:
    first, second = (registry.register(start(registry), each, {}, CARD) for each in (bundle, other))
    registry.promote(first, "the first", {})
    client = MlflowClient(registry.uri)
    client.set_registered_model_alias("tiny", "champion", "2")
    with pytest.raises(RegistryError, match="alias champion is version 2, and the promotion log ends with 1"):
        check(registry.promotions(), registry.champion())
    client.set_registered_model_alias("tiny", "champion", "1")
    registry.promote(second, "better", {})
    check(registry.promotions(), registry.champion())
    changed = replace(registry.promotions()[0], why="another reason")
    client.set_registered_model_tag("tiny", "promotion_000001", changed.to_json())
    with pytest.raises(LedgerBroken, match="entry 2 does not follow"):
        check(registry.promotions(), registry.champion())
    with pytest.raises(LedgerBroken):
        registry.promote(first, "back", {})


def test_a_bundle_comes_back_as_it_was(registry: Registry, bundle: Bundle, tmp_path: Path) -> None:
    version = registry.register(start(registry), bundle, {}, CARD)
    assert registry.version_by_digest(bundle.manifest.digest) == version
    assert registry.version_by_digest("0" * 64) is None
    folder = tmp_path / "download"
    folder.mkdir()
    assert Bundle.open(registry.download(version, BUNDLE, folder)).manifest == bundle.manifest
    with pytest.raises(RegistryError, match="has no nothing in"):
        registry.download(version, "nothing", folder)


def test_two_bundles_of_one_run_are_kept_apart(
    registry: Registry, bundle: Bundle, other: Bundle, tmp_path: Path
) -> None:
    run_id = start(registry)
    versions = [registry.register(run_id, each, {}, CARD) for each in (bundle, other)]
    assert [version.number for version in versions] == [1, 2]
    for version in versions:
        folder = tmp_path / str(version.number)
        folder.mkdir()
        assert Bundle.open(registry.download(version, BUNDLE, folder)).manifest.digest == version.digest


def test_unknown_runs_are_known_to_be_unknown(registry: Registry) -> None:
    assert registry.has_run(start(registry))
    assert not registry.has_run("0" * 32)


def test_credentials_do_not_reach_messages() -> None:
    assert redacted("postgresql://user:secret@host/db") == "postgresql://host/db"
    assert redacted("sqlite:///mlruns/mlflow.db") == "sqlite:///mlruns/mlflow.db"

"""Against a real Bento store in a folder of its own. Building the Bento is in ``tests/e2e``."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore

from data.bundle import MANIFEST_FILE, SIGNATURE_FILE, Bundle
from pipelines import package, sign
from pipelines.errors import PackagingError
from pipelines.package import stage_in_service
from pipelines.params import Register
from pipelines.registry import Registry, Version
from serving.rollout.store import FileStore
from serving.signature import check_signature
from tests.keys import key_pair


class OneBundle(Registry):
    """A registry that hands out one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def download(self, version: Version, kind: str, folder: Path) -> Path:
        return Path(shutil.copytree(self._folder, folder / kind))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "models"
    folder.mkdir()
    BentoMLContainer.model_store.set(ModelStore(folder))
    yield folder
    BentoMLContainer.model_store.reset()


def version(bundle: Bundle) -> Version:
    return Version(number=3, digest=bundle.manifest.digest, run_id="r", test_rows="")


def test_the_tag_names_version_and_digest(bundle: Bundle) -> None:
    assert version(bundle).tag("koelectra-nsmc") == f"koelectra-nsmc:v3-{bundle.manifest.digest[:8]}"


def test_storing_is_idempotent_and_keeps_the_lineage(store: Path, bundle: Bundle) -> None:
    import bentoml

    registry = OneBundle(bundle.folder)
    tag = package.store_model(registry, "koelectra-nsmc", version(bundle))
    assert package.store_model(registry, "koelectra-nsmc", version(bundle)) == tag
    stored = bentoml.models.get(tag)
    assert Bundle.open(Path(stored.path)).manifest == bundle.manifest
    assert stored.info.metadata["mlflow_version"] == 3
    assert stored.info.metadata["bundle_digest"] == bundle.manifest.digest


def test_a_tag_is_never_overwritten(store: Path, bundle: Bundle) -> None:
    import bentoml

    tag = package.store_model(OneBundle(bundle.folder), "koelectra-nsmc", version(bundle))
    manifest = Path(bentoml.models.get(tag).path) / MANIFEST_FILE
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"model_name": "another"}))
    with pytest.raises(PackagingError, match="Nothing was overwritten"):
        package.store_model(OneBundle(bundle.folder), "koelectra-nsmc", version(bundle))
    assert json.loads(manifest.read_text())["model_name"] == "another"


def test_a_registry_that_hands_out_another_bundle_is_caught(store: Path, bundle: Bundle) -> None:
    wrong = Version(number=4, digest="0" * 64, run_id="r", test_rows="")
    with pytest.raises(PackagingError, match="version 4 in MLflow has bundle digest"):
        package.store_model(OneBundle(bundle.folder), "koelectra-nsmc", wrong)
    assert not list(store.iterdir())


def test_names_of_the_registry_are_names_of_bentoml() -> None:
    Register(experiment="nsmc", model="koelectra-nsmc")


def test_a_new_champion_can_be_staged_and_traffic_stays_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLLOUT_FOLDER", str(tmp_path))
    monkeypatch.delenv("REDIS_URL", raising=False)
    assert stage_in_service("m:2").startswith("m:2 was not staged: nobody has moved anything yet, and no worker")
    store = FileStore(tmp_path)
    report = {"worker": "w", "generation": 0, "live": "m:1", "ready": ["m:1"], "problems": {}}
    asyncio.run(store.report("w", report, 0, {}))
    assert stage_in_service("m:2").startswith("m:2 is staged")
    state = asyncio.run(store.read())
    assert state is not None
    assert (state.live, state.other, state.weight, state.shadow) == ("m:1", "m:2", 0.0, 0.0)
    assert stage_in_service("m:3").startswith("m:3 was not staged: green still holds m:2")
    (entry,) = asyncio.run(store.history())
    assert (entry.who, entry.what) == ("pipeline", "stage m:2")


def test_where_there_is_a_key_what_is_stored_is_signed(
    store: Path, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import bentoml

    registry = OneBundle(bundle.folder)
    tag = package.store_model(registry, "koelectra-nsmc", version(bundle))
    folder = Path(bentoml.models.get(tag).path)
    assert not (folder / SIGNATURE_FILE).exists()

    private, public = key_pair(tmp_path / "keys")
    monkeypatch.setenv("SIGNING_KEY", str(private))
    package.store_model(registry, "koelectra-nsmc", version(bundle))
    check_signature(folder, public)

    (folder / SIGNATURE_FILE).unlink()
    monkeypatch.setattr("sys.argv", ["sign", tag])
    sign.main()
    assert capsys.readouterr().out == f"{tag} is signed\n"
    check_signature(folder, public)

    bentoml.models.delete(tag)
    package.store_model(registry, "koelectra-nsmc", version(bundle))
    check_signature(folder, public)


def test_signing_says_what_it_lacks(store: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["sign", "koelectra-nsmc:v9"])
    with pytest.raises(PackagingError, match="the model store has no koelectra-nsmc:v9"):
        sign.main()
    tag = package.store_model(OneBundle(bundle.folder), "koelectra-nsmc", version(bundle))
    monkeypatch.setattr("sys.argv", ["sign", tag])
    monkeypatch.delenv("SIGNING_KEY", raising=False)
    with pytest.raises(PackagingError, match="SIGNING_KEY is not set"):
        sign.main()

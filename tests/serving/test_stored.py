"""Where models are looked for, and what is said of one that is nowhere."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import bentoml
import pytest
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore

from data.bundle import Bundle
from serving import stored
from serving.errors import ModelUnavailable, RolloutRefused
from serving.settings import Settings
from tests.keys import key_pair


@pytest.fixture
def stores(tmp_path: Path, bundle: Bundle) -> Iterator[Path]:
    """Two stores: BentoML's own with m:1, and another, as it is mounted, with m:2."""
    for number, name in enumerate(("own", "mounted"), start=1):
        (tmp_path / name).mkdir()
        BentoMLContainer.model_store.set(ModelStore(tmp_path / name))
        with bentoml.models.create(f"m:{number}") as created:
            shutil.copytree(bundle.folder, created.path, dirs_exist_ok=True)
    BentoMLContainer.model_store.set(ModelStore(tmp_path / "own"))
    yield tmp_path
    BentoMLContainer.model_store.reset()


def test_a_model_is_found_in_either_store(stores: Path) -> None:
    settings = Settings(model_store=stores / "mounted")
    assert stored.load(stored.find("m:1", settings), settings).tag == "m:1"
    assert stored.load(stored.find("m:2", settings), settings).tag == "m:2"
    with pytest.raises(RolloutRefused, match=r"the model store has no m:2; of m it has m:1$"):
        stored.find("m:2", Settings())


def test_what_is_nowhere_is_told_with_what_there_is(stores: Path) -> None:
    (stores / "mounted" / "lost+found").mkdir()
    settings = Settings(model_store=stores / "mounted")
    with pytest.raises(RolloutRefused, match="the model store has no m:9; of m it has m:1, m:2"):
        stored.find("m:9", settings)
    with pytest.raises(RolloutRefused, match="the model store has no other:1; of other it has none"):
        stored.find("other:1", settings)
    for store in (stores / "nowhere", stores):
        with pytest.raises(RolloutRefused, match="of other it has none"):
            stored.find("other:1", Settings(model_store=store))


def test_with_a_public_key_only_what_is_signed_passes(stores: Path, tmp_path: Path) -> None:
    _, public = key_pair(tmp_path / "keys")
    found = stored.find("m:1", Settings())
    stored.check(found, Settings())
    with pytest.raises(ModelUnavailable, match="is not signed"):
        stored.check(found, Settings(signing_public_key=public))

"""Models of the Bento model store: found by their tag, verified, and loaded."""

from contextlib import suppress
from pathlib import Path

import bentoml
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore
from bentoml.exceptions import BentoMLException

from serving.engine.remembered import default_folder
from serving.errors import ModelUnavailable, RolloutRefused
from serving.model import Model
from serving.settings import Settings
from serving.signature import check_signature


def find(tag: str, settings: Settings) -> bentoml.Model:
    """A model of the stores that there are. Raises RolloutRefused, naming what they have.

    In a container BentoML's own store is the Bento's, with nothing but the model that it embeds; others may be mounted.
    """
    stores = [BentoMLContainer.model_store.get()]
    if settings.model_store is not None and settings.model_store.is_dir():
        stores.append(ModelStore(settings.model_store))
    for store in stores:
        with suppress(BentoMLException, OSError):  # of a store that is read-only, BentoML cannot note what is latest
            return bentoml.models.get(tag, _model_store=store)
    name = tag.partition(":")[0]
    known: set[str] = set()
    for store in stores:
        with suppress(BentoMLException):  # one that has no model of this name
            known |= {str(model.tag) for model in store.list(name)}
    raise RolloutRefused(f"the model store has no {tag}; of {name} it has {', '.join(sorted(known)) or 'none'}")


def check(stored: bentoml.Model, settings: Settings) -> None:
    """Raise ModelUnavailable where a signature is asked for and does not hold; comes before anything else is read."""
    if settings.signing_public_key is not None:
        check_signature(Path(stored.path), settings.signing_public_key)


def load(stored: bentoml.Model, settings: Settings) -> Model:
    """Raises BundleError or ModelUnavailable; see ``Model.load``."""
    metadata = stored.info.metadata
    version, digest = metadata.get("mlflow_version"), str(metadata.get("bundle_digest", ""))
    model = Model.load(
        Path(stored.path),
        str(stored.tag),
        wanted=settings.wanted,
        remembered=default_folder() if settings.remember_engine else None,
        mlflow_version=None if version is None else str(version),
    )
    if digest and digest != model.bundle.manifest.digest:
        raise ModelUnavailable(f"{stored.tag} holds bundle {model.bundle.manifest.digest[:12]}, not {digest[:12]}")
    return model

"""Models of the Bento model store: found by their tag, verified, and loaded."""

from pathlib import Path

import bentoml
from bentoml.exceptions import BentoMLException

from serving.engine.remembered import default_folder
from serving.errors import ModelUnavailable, RolloutRefused
from serving.model import Model
from serving.settings import Settings
from serving.signature import check_signature


def find(tag: str) -> bentoml.Model:
    """A model of the store. Raises RolloutRefused, naming what there is."""
    try:
        return bentoml.models.get(tag)
    except BentoMLException as error:
        name = tag.partition(":")[0]
        known = sorted(str(model.tag) for model in bentoml.models.list() if model.tag.name == name)
        raise RolloutRefused(f"the model store has no {tag}; of {name} it has {', '.join(known) or 'none'}") from error


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

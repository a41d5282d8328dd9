"""Put the champion into the Bento model store under its own tag, and build the Bento that embeds exactly that tag."""

import asyncio
import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import bentoml
import yaml
from bentoml.exceptions import BentoMLException, NotFound

from data.bundle import SIGNATURE_FILE, Bundle
from pipelines import artifacts, stage
from pipelines.errors import PackagingError, RegistryError
from pipelines.params import Params
from pipelines.registry import BUNDLE, Registry, Version
from pipelines.sign import sign
from serving.errors import ServingError
from serving.rollout.operator import Operator, Order
from serving.rollout.settings import RolloutSettings

BENTOFILE = Path("bentofile.yaml")


def store_model(registry: Registry, model: str, version: Version) -> str:
    """Make sure that the model store holds ``version``, signed if there is a key, and return its tag.

    A tag is never overwritten.
    """
    tag = version.tag(model)
    try:
        stored = bentoml.models.get(tag)
    except NotFound:
        with tempfile.TemporaryDirectory(prefix="package-") as folder:
            bundle = Bundle.open(registry.download(version, BUNDLE, Path(folder)))
            _check_digest(bundle, version, f"version {version.number} in MLflow")
            labels = {"profile": bundle.manifest.lineage.get("profile", "")}
            metadata = {
                "bundle_digest": version.digest,
                "mlflow_model": model,
                "mlflow_version": version.number,
                "mlflow_run_id": version.run_id,
                "preprocessing_fingerprint": bundle.manifest.fingerprint,
            }
            with bentoml.models.create(tag, labels=labels, metadata=metadata) as created:
                shutil.copytree(bundle.folder, created.path, dirs_exist_ok=True)
                sign(Path(created.path))
    else:
        _check_digest(Bundle.open(Path(stored.path)), version, f"Bento model {tag}")
        if not (Path(stored.path) / SIGNATURE_FILE).exists():
            sign(Path(stored.path))
    return tag


def build_bento(tag: str, *, gpu: bool = False) -> str:
    """Build the Bento around model ``tag`` unless the same files were built around it before; return its tag.

    With ``gpu``, its container holds the engine for GPUs, too.
    """
    settings: dict[str, Any] = yaml.safe_load(BENTOFILE.read_text(encoding="utf-8"))
    files = [BENTOFILE, Path(settings["python"]["requirements_txt"])]
    files += sorted(path for pattern in settings["include"] for path in Path().glob(pattern) if path.is_file())
    code = hashlib.sha256()
    for path in files:
        code.update(f"{path.as_posix()}\x00".encode() + path.read_bytes() + b"\x00")
    version = f"{bentoml.Tag.from_taglike(tag).version}-{code.hexdigest()[:8]}" + "-gpu" * gpu
    name = f"{settings['name']}:{version}"
    try:
        return str(bentoml.bentos.get(name).tag)
    except NotFound:
        pass
    try:
        arguments = {"model_tag": tag, "gpu": gpu}
        return str(bentoml.bentos.build_bentofile(str(BENTOFILE), version=version, args=arguments).tag)
    except (BentoMLException, ValueError) as error:  # ValueError: a hidden folder in the path, for example
        raise PackagingError(f"the Bento around {tag} cannot be built: {error}") from error


def _check_digest(bundle: Bundle, version: Version, where: str) -> None:
    if bundle.manifest.digest != version.digest:
        raise PackagingError(
            f"{where} has bundle digest {bundle.manifest.digest}; the registry says {version.digest}. Nothing was "
            "overwritten; delete or rename the wrong one"
        )


def stage_in_service(tag: str) -> str:
    """Have the running service load ``tag`` beside what is live, without traffic; says what came of it.

    A service that is not there, or is in the middle of another rollout, is no reason for a pipeline to fail.
    """

    async def order() -> None:
        settings = RolloutSettings.from_environment()
        store = settings.store()
        try:
            await Operator(store, settings.rollout_limits, 0.0).carry_out(
                Order("stage", "pipeline", "the new champion", tag)
            )
        finally:
            await store.close()

    try:
        asyncio.run(order())
    except ServingError as error:
        return f"{tag} was not staged: {error}"
    return f"{tag} is staged; `python -m serving.rollout status` says when it is ready"


def main() -> None:
    """Stage package."""
    params = Params.load()
    decision = artifacts.read_json(artifacts.DECISION)
    if decision["champion"] is None:
        raise PackagingError(f"there is no champion to package: {'; '.join(decision['reasons'])}")
    registry = Registry(params.register_)
    version = registry.version_by_digest(decision["champion_digest"])
    if version is None:
        raise RegistryError(f"the champion's bundle {decision['champion_digest'][:12]} is not in this MLflow store")
    tag = store_model(registry, params.register_.model, version)
    bento = build_bento(tag)
    artifacts.write_json(artifacts.PACKAGE, {"model_tag": tag, "bento_tag": bento, "bundle_digest": version.digest})
    print(f"{bento} embeds {tag}")
    if params.package.stage:
        print(stage_in_service(tag))


if __name__ == "__main__":
    stage.run(main)

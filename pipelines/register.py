"""Make the bundle a version in MLflow, with everything that tells where it comes from; it becomes candidate."""

import hashlib
from pathlib import Path
from typing import Any

from data.bundle import Bundle
from pipelines import artifacts, curves, stage
from pipelines.card import present_card
from pipelines.lineage import git_commit
from pipelines.params import Params
from pipelines.registry import DIGEST_TAG, EVALUATION, REPORTS, ROWS_TAG, Registry, new_run, place

LOCK_FILE = Path("dvc.lock")


def _run(registry: Registry, params: Params, digest: str) -> tuple[str, bool]:
    """The run that the bundle belongs to, and whether it has to be made whole from the records.

    That is so after DVC restored the training from its cache, or with a store that never saw it.
    """
    version = registry.version_by_digest(digest)
    for run_id in (str(artifacts.read_json(artifacts.RUN)["run_id"]), version.run_id if version else ""):
        if run_id and registry.has_run(run_id):
            return run_id, False
    return new_run(registry, params), True


def _flat_metrics(evaluation: dict[str, Any], export: dict[str, Any]) -> dict[str, float]:
    """All numbers of both reports, by their path; MLflow's names allow no other signs."""
    found: dict[str, float] = {}
    waiting: list[tuple[str, Any]] = [("", evaluation), ("export", export)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{path}/{key}".lstrip("/"), inner) for key, inner in value.items()]
        elif value is not None:
            found[path] = float(value)
    return found


def main() -> None:
    """Stage register."""
    params = Params.load()
    bundle = Bundle.open(artifacts.BUNDLE)
    evaluation, export = artifacts.read_json(artifacts.EVALUATION_REPORT), artifacts.read_json(artifacts.EXPORT_REPORT)
    registry = Registry(params.register_)
    digest = bundle.manifest.digest
    run_id, made = _run(registry, params, digest)
    tags = {
        "profile": params.profile,
        "git_commit": git_commit(),
        "dvc_lock_sha256": hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest() if LOCK_FILE.exists() else "",
        ROWS_TAG: artifacts.read_json(artifacts.DATA_REPORT)["splits"]["test"]["sha256"],
        "test_accuracy": f"{bundle.manifest.metrics['test_accuracy']:.4f}",
    }
    card = present_card(params)
    with registry.finishing(run_id):
        for step, points in curves.recorded() if made else ():
            registry.log_metrics(run_id, points, step)
        registry.log_metrics(run_id, _flat_metrics(evaluation, export))
        registry.tag_run(run_id, {DIGEST_TAG: digest, **tags})
        for file in (artifacts.PREDICTIONS, artifacts.BEHAVIOUR_REPORT):
            registry.attach(run_id, file, place(EVALUATION, digest))
        for folder in (artifacts.REPORTS, artifacts.PLOTS, artifacts.PICTURES):
            registry.attach(run_id, folder, place(REPORTS, digest))
        registry.attach_text(run_id, card, f"{place(REPORTS, digest)}/model_card.md")
        registry.describe_run(run_id, card)
        version = registry.register(run_id, bundle, tags, card)
    artifacts.write_json(
        artifacts.REGISTRATION,
        {"model": params.register_.model, "version": version.number, "digest": version.digest, "run_id": run_id},
    )
    print(f"{params.register_.model} version {version.number} (bundle {version.digest[:12]})")


if __name__ == "__main__":
    stage.run(main)

"""Make the bundle a version in MLflow, with everything that tells where it comes from; it becomes candidate."""

import hashlib
from pathlib import Path
from typing import Any

from data.bundle import Bundle
from pipelines import artifacts, curves, stage
from pipelines.lineage import datasets_used, git_commit
from pipelines.params import Params
from pipelines.registry import DIGEST_TAG, EVALUATION_PATH, REPORTS_PATH, ROWS_TAG, Registry

LOCK_FILE = Path("dvc.lock")


def _run(registry: Registry, params: Params, run_id: str) -> str:
    """The run that trained the bundle; where this store does not know it, one that is made from its records.

    That happens after DVC restored the training from its cache, or with another MLflow store.
    """
    if registry.has_run(run_id):
        return run_id
    settings = params.model_dump(mode="json", by_alias=True)
    made = registry.start_run(params.profile, settings, datasets_used(params.fetch.source), git_commit())
    for step, points in curves.recorded():
        registry.log_metrics(made, points, step)
    return made


def _flat_metrics(evaluation: dict[str, Any], export: dict[str, Any]) -> dict[str, float]:
    metrics = {f"{split}/{name}": value for split in ("dev", "test") for name, value in evaluation[split].items()}
    metrics |= {f"export/{name}": float(value) for name, value in export.items()}
    metrics |= {name: float(evaluation[name]) for name in ("temperature", "majority_accuracy")}
    return metrics


def main() -> None:
    """Stage register."""
    params = Params.load()
    bundle = Bundle.open(artifacts.BUNDLE)
    evaluation, export = artifacts.read_json(artifacts.EVALUATION_REPORT), artifacts.read_json(artifacts.EXPORT_REPORT)
    registry = Registry(params.register_)
    run_id = _run(registry, params, str(artifacts.read_json(artifacts.RUN)["run_id"]))
    tags = {
        "profile": params.profile,
        "git_commit": git_commit(),
        "dvc_lock_sha256": hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest() if LOCK_FILE.exists() else "",
        ROWS_TAG: artifacts.read_json(artifacts.DATA_REPORT)["splits"]["test"]["sha256"],
        "test_accuracy": f"{bundle.manifest.metrics['test_accuracy']:.4f}",
    }
    with registry.finishing(run_id):
        registry.log_metrics(run_id, _flat_metrics(evaluation, export))
        registry.tag_run(run_id, {DIGEST_TAG: bundle.manifest.digest, **tags})
        registry.attach(run_id, artifacts.PREDICTIONS, EVALUATION_PATH)
        registry.attach(run_id, artifacts.REPORTS, REPORTS_PATH)
        registry.attach(run_id, artifacts.PLOTS, REPORTS_PATH)
        version = registry.register(run_id, bundle, tags)
    artifacts.write_json(
        artifacts.REGISTRATION,
        {"model": params.register_.model, "version": version.number, "digest": version.digest, "run_id": run_id},
    )
    print(f"{params.register_.model} version {version.number} (bundle {version.digest[:12]})")


if __name__ == "__main__":
    stage.run(main)

"""Imports run one way, and each side stays free of what the other needs."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.project import closure, imported, modules

ROOT = Path(__file__).parent.parent.parent
ALLOWED = {
    "data": {"data"},
    "training": {"data", "training"},
    "serving": {"data", "serving"},
    "pipelines": {"data", "training", "serving", "pipelines"},
}
FORBIDDEN = {
    "data": {"torch", "transformers", "mlflow", "dvc", "datasets", "bentoml", "fastapi", "pydantic"},
    "training": {"mlflow", "dvc", "datasets", "evaluate", "bentoml", "pydantic", "fsspec"},
    "serving": {"torch", "transformers", "mlflow", "dvc", "datasets", "evaluate", "accelerate", "pandas", "sklearn"},
}


OPTIONAL = {"serving.engine.packed": {"torch", "onnx"}, "serving.engine.openvino": {"openvino"}}
"""What these modules import inside functions, where it is installed."""


@pytest.mark.parametrize("module", modules(ROOT))
def test_rooms_import_one_way(module: str) -> None:
    room = module.split(".")[0]
    files, outside = closure(ROOT, module, OPTIONAL)
    assert {path.parts[0] for path in files} <= ALLOWED[room]
    assert not outside & FORBIDDEN.get(room, set())


@pytest.mark.parametrize("module", ["serving.service", "training.loop", "training.export", "data.bundle"])
def test_nothing_forbidden_is_loaded_at_run_time(module: str) -> None:
    room = module.split(".")[0]
    code = f"import sys, {module}; print(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert module.split(".")[0] in loaded
    assert not loaded & FORBIDDEN[room]


def test_only_the_registry_talks_to_mlflow() -> None:
    users = {module for module in modules(ROOT) if "mlflow" in {name.split(".")[0] for name in imported(ROOT, module)}}
    assert users == {"pipelines.registry"}


def test_importing_serving_makes_nothing(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import serving.api, training.loop, pipelines.registry"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["dev", "train", "serve"])
def test_locks_name_no_place_of_a_machine(name: str) -> None:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) > 30
    assert not [line for line in lines if not line.startswith("#") and ("@" in line or "://" in line)]


def test_routes_fetch_nothing() -> None:
    """No request makes the service call anybody: it has no client but those of Redis and of traces."""
    _, outside = closure(ROOT, "serving.service", OPTIONAL)
    assert "redis" in outside
    assert not outside & {"httpx", "httpcore", "requests", "aiohttp", "urllib3", "fsspec", "huggingface_hub"}
    used = set().union(*(imported(ROOT, module) for module in modules(ROOT) if module.startswith("serving.")))
    assert not used & {"urllib.request", "http.client", "ftplib"}

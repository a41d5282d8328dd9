"""The Bento holds the service's files and nothing else, and BentoML's internals are as they were pinned."""

import importlib.metadata
import inspect
import re
import tomllib
from pathlib import Path

import yaml

from serving.api import VERSION
from tests.contract.project import closure

ROOT = Path(__file__).parent.parent.parent
BENTOFILE = yaml.safe_load((ROOT / "bentofile.yaml").read_text())
PINNED_BENTOML = "1.4.39"


def locked(name: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def test_the_bento_holds_what_the_service_imports() -> None:
    included = {path.relative_to(ROOT) for pattern in BENTOFILE["include"] for path in ROOT.glob(pattern)}
    assert included == closure(ROOT, "serving.service")[0]


def test_serving_requirements_hold_nothing_of_the_training_side() -> None:
    names = set(locked("serve"))
    assert not names & {"torch", "mlflow", "mlflow-skinny", "datasets", "dvc", "transformers", "accelerate", "pandas"}
    assert {"bentoml", "onnxruntime", "tokenizers", "redis", "fastapi", "uvloop", "httptools"} <= names


def test_the_service_has_the_projects_version() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_locks_agree_with_each_other_and_pin_torch() -> None:
    everything = locked("dev")
    for role in ("serve", "train"):
        assert locked(role).items() <= everything.items()
    assert everything["torch"] == "2.13.0"


def test_locks_hold_all_that_is_asked_for() -> None:
    roles = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for role, requirements in roles.items():
        names = {re.split(r"[\[<>=]", requirement)[0].lower() for requirement in requirements} - {"nsmc-sentiment"}
        lock = role if (ROOT / "requirements" / f"{role}.txt").exists() else "dev"  # extras that nothing needs
        assert names <= set(locked(lock)), role


def test_the_internals_that_serving_relies_on_are_those_of_the_pinned_version() -> None:
    from _bentoml_impl.server.app import ServiceAppFactory
    from _bentoml_sdk import Service
    from bentoml._internal.server import http_app

    from serving.service import NATIVE_LOGGER

    assert http_app.logger.name == NATIVE_LOGGER
    assert "logger.error(" in inspect.getsource(http_app.log_exception)
    assert importlib.metadata.version("bentoml") == PINNED_BENTOML == locked("serve")["bentoml"]
    assert list(inspect.signature(ServiceAppFactory.batch_infer).parameters) == [
        "self",
        "name",
        "input_args",
        "input_kwargs",
    ]
    assert isinstance(inspect.getattr_static(ServiceAppFactory, "routes"), property)
    assert list(inspect.signature(Service.to_asgi).parameters) == ["self", "is_main"]
    assert "factory = ServiceAppFactory(self, is_main=is_main)" in inspect.getsource(Service.to_asgi)

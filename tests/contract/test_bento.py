"""The Bento holds the service's files and nothing else, and BentoML's internals are as they were pinned."""

import importlib.metadata
import inspect
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import bentoml
import yaml

from data import behaviour
from serving import page
from serving.api import VERSION
from tests.contract.project import closure

ROOT = Path(__file__).parent.parent.parent
BENTOFILE = yaml.safe_load((ROOT / "bentofile.yaml").read_text())
PINNED_BENTOML = "1.4.39"


def locked(name: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def test_the_bento_holds_what_the_service_and_its_commands_import() -> None:
    included = {path.relative_to(ROOT) for pattern in BENTOFILE["include"] for path in ROOT.glob(pattern)}
    assets = {Path("serving/page") / name for name, _ in page.ASSETS.values()}
    assets |= {path.relative_to(ROOT) for path in behaviour.CASES.iterdir()}
    entrances = ("serving.service", "serving.rollout.__main__", "serving.access.__main__")
    imported = set().union(*(closure(ROOT, entrance)[0] for entrance in entrances))
    assert included == imported | assets


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
    """Read serving/batching.py and docs/decisions/0004 and 0017 before you raise the version."""
    from _bentoml_impl.server.app import ServiceAppFactory
    from _bentoml_sdk import Service
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.marshal.dispatcher import CorkDispatcher, Job
    from bentoml._internal.models import ModelStore

    assert importlib.metadata.version("bentoml") == PINNED_BENTOML == locked("serve")["bentoml"]

    def parameters(function: Callable[..., Any]) -> list[str]:
        return list(inspect.signature(function).parameters)

    # the application, and the way to its dispatchers
    assert parameters(ServiceAppFactory.batch_infer) == ["self", "name", "input_args", "input_kwargs"]
    assert "await self.dispatchers[name](" in inspect.getsource(ServiceAppFactory.batch_infer)
    for name in ("routes", "middlewares"):
        assert isinstance(inspect.getattr_static(ServiceAppFactory, name), property)
    assert parameters(Service.to_asgi) == ["self", "is_main"]
    assert "factory = ServiceAppFactory(self, is_main=is_main)" in inspect.getsource(Service.to_asgi)
    assert '"__is_ready__"' in inspect.getsource(ServiceAppFactory.readyz)
    # the model store of a container is the Bento's own; serving.stored looks into another, too
    assert parameters(ModelStore.__init__) == ["self", "base_path"]
    assert "_model_store" in parameters(bentoml.models.get)
    assert isinstance(BentoMLContainer.model_store.get(), ModelStore)
    # the dispatcher, of which the release policy is ours
    assert parameters(CorkDispatcher.outbound_call) == ["self", "inputs_info", "training"]
    assert parameters(CorkDispatcher.inbound_call) == ["self", "data"]
    assert [field.name for field in attrs.fields(Job)] == ["enqueue_time", "data", "future", "dispatch_time"]
    calls = inspect.getsource(CorkDispatcher.__call__)
    assert "self._loop.create_task(self.controller())" in calls
    assert "await self.inbound_call(data)" in calls
    assert "return self.fallback()" in calls


def test_of_bentomls_middlewares_none_is_new() -> None:
    """All but ``ContextMiddleware`` are left out on purpose; one that a new version adds has to be thought about."""
    from _bentoml_impl.server.app import ServiceAppFactory

    source = inspect.getsource(inspect.getattr_static(ServiceAppFactory, "middlewares").fget)
    assert re.findall(r"Middleware\(\s*(\w+)", source) == [
        "RunnerTrafficMetricsMiddleware", "OpenTelemetryMiddleware", "AccessLogMiddleware", "middleware_cls",
        "CORSMiddleware", "ContextMiddleware",
    ]  # fmt: skip

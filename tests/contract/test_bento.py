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
import pytest
import yaml

from data import behaviour
from serving import page
from serving.api import VERSION
from serving.image import GPU_PACKAGES
from tests.contract.project import closure

ROOT = Path(__file__).parent.parent.parent
BENTOFILE = yaml.safe_load((ROOT / "bentofile.yaml").read_text())
PINNED_BENTOML = "1.4.39"


LOCKS = ("dev", "train", "serve")
PIN = r"([a-z0-9][a-z0-9.-]*)==([^\s=]+)"
HASHED = re.compile(rf"^{PIN}((?: \\\n    --hash=sha256:[0-9a-f]{{64}})+)\n", re.MULTILINE)


def lock(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")


def locked(name: str) -> dict[str, str]:
    return dict(re.findall(rf"^{PIN}", lock(name), re.MULTILINE))


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


def test_locks_agree_with_each_other() -> None:
    hashes = {name: pinned for name, *pinned in HASHED.findall(lock("dev"))}
    for role in ("serve", "train"):
        assert {name: pinned for name, *pinned in HASHED.findall(lock(role))}.items() <= hashes.items()


@pytest.mark.parametrize("name", LOCKS)
def test_all_that_is_locked_is_pinned_and_hashed(name: str) -> None:
    """And the file holds nothing else: no options, no places, no line without hashes."""
    assert HASHED.sub("", lock(name)) == ""
    assert "torch" not in locked(name)


def test_torch_is_pinned_in_a_file_of_its_own() -> None:
    """Each of its builds has other hashes, so it has none."""
    (pinned,) = [line for line in lock("torch").splitlines() if not line.startswith("#")]
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert pinned in asked["train"]
    assert pinned in GPU_PACKAGES


def test_locks_hold_all_that_is_asked_for() -> None:
    roles = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for role, requirements in roles.items():
        names = {re.split(r"[\[<>=]", requirement)[0].lower() for requirement in requirements} - {"nsmc-sentiment"}
        there = locked(role if role in LOCKS else "dev")  # extras that nothing needs
        assert names <= set(there) | set(locked("torch")), role


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


def test_the_server_takes_our_protocol() -> None:
    """uvicorn looks its protocol up by name when it starts, and BentoML leaves the name alone."""
    import uvicorn.config
    from _bentoml_impl.worker import service
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    assert "HTTP_PROTOCOLS.get(self.http, self.http)" in inspect.getsource(uvicorn.config.Config.load)
    assert inspect.signature(uvicorn.config.Config).parameters["http"].default == "auto"
    config = inspect.getsource(service).partition("uvicorn.Config(")[2].partition("uvicorn.Server(")[0]
    assert "http=" not in config
    assert "self.send_400_response(msg)" in inspect.getsource(HttpToolsProtocol.data_received)
    assert "existing_cycle.response_complete" in inspect.getsource(HttpToolsProtocol.on_headers_complete)


def test_of_bentomls_middlewares_none_is_new() -> None:
    """All but ``ContextMiddleware`` are left out on purpose; one that a new version adds has to be thought about."""
    from _bentoml_impl.server.app import ServiceAppFactory

    source = inspect.getsource(inspect.getattr_static(ServiceAppFactory, "middlewares").fget)
    assert re.findall(r"Middleware\(\s*(\w+)", source) == [
        "RunnerTrafficMetricsMiddleware", "OpenTelemetryMiddleware", "AccessLogMiddleware", "middleware_cls",
        "CORSMiddleware", "ContextMiddleware",
    ]  # fmt: skip

"""The client is a distribution of its own: typed, small, and in need of nothing but httpx."""

import ast
import inspect
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import nsmc_sentiment
from nsmc_sentiment import AsyncSentimentClient, SentimentClient, errors

CLIENT = Path(__file__).parent.parent.parent / "client"
PACKAGE = CLIENT / "nsmc_sentiment"


def test_public_names() -> None:
    tree = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    answers = {"Correction", "Health", "Label", "ModelInfo", "Sentiment", "Verdict"}
    clients = {"AsyncSentimentClient", "SentimentClient", "RetryPolicy", "__version__"}
    assert set(nsmc_sentiment.__all__) == tree | answers | clients
    assert all(hasattr(nsmc_sentiment, name) for name in nsmc_sentiment.__all__)


def test_the_tree_of_errors_is_shown_as_it_is() -> None:
    shown = {line.strip("│├└─ ").split()[0] for line in (errors.__doc__ or "").splitlines() if "──" in line}
    tree = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert shown == tree - {"SentimentError"}
    assert all(issubclass(getattr(errors, name), errors.SentimentError) for name in tree)


def test_both_clients_have_the_same_methods() -> None:
    def methods(client: type) -> dict[str, list[str]]:
        return {
            name: [str(parameter).split(":")[0] for parameter in inspect.signature(method).parameters.values()]
            for name, method in inspect.getmembers(client, inspect.isfunction)
            if not name.startswith("_") or name == "__init__"
        }

    assert methods(SentimentClient) == methods(AsyncSentimentClient)


def test_it_imports_httpx_and_the_standard_library() -> None:
    imported = set()
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.split(".")[0] for name in names}
    assert imported - sys.stdlib_module_names == {"httpx", "nsmc_sentiment"}
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [requirement.split(">")[0] for requirement in project["dependencies"]] == ["httpx"]


def test_it_is_built_whole(tmp_path: Path) -> None:
    source = tmp_path / "client"
    shutil.copytree(CLIENT, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", tmp_path, source], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"nsmc_sentiment_client-{nsmc_sentiment.__version__}-py3-none-any.whl"
    files = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("nsmc_sentiment/")}
    assert files == {f"nsmc_sentiment/{path.name}" for path in PACKAGE.glob("*") if path.is_file()}
    assert "nsmc_sentiment/py.typed" in files

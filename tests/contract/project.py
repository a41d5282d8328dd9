"""What the project's modules import of each other, read from the source."""

import ast
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

ROOMS = ("data", "training", "serving", "pipelines")


def path_of(root: Path, module: str) -> Path | None:
    """The file of a module of the project, relative to ``root``; None for anything else."""
    place = Path(*module.split("."))
    for candidate in (place / "__init__.py", place.with_suffix(".py")):
        if (root / candidate).exists():
            return candidate
    return None


def imported(root: Path, module: str) -> set[str]:
    """Names that a module of the project imports anywhere in it, packages above it included."""
    path = path_of(root, module)
    assert path is not None, module
    names = {".".join(module.split(".")[:depth]) for depth in range(1, module.count(".") + 1)}
    for node in ast.walk(ast.parse((root / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def closure(
    root: Path, module: str, optional: Mapping[str, set[str]] = MappingProxyType({})
) -> tuple[set[Path], set[str]]:
    """The project's files that importing ``module`` runs, and the outside packages that they import.

    ``optional`` names by module what is left out.
    """
    files: set[Path] = set()
    outside: set[str] = set()
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name.split(".")[0] not in ROOMS:
            outside.add(name.split(".")[0])
            continue
        path = path_of(root, name)
        if path is not None:
            files.add(path)
            waiting += [each for each in imported(root, name) if each.split(".")[0] not in optional.get(name, set())]
    return files, outside


def modules(root: Path) -> list[str]:
    """All modules of the rooms."""
    return [
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for room in ROOMS
        for path in sorted((root / room).rglob("*.py"))
    ]

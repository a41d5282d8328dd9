"""JSON values as what a dataclass says they are: no coercion, every wrong type named by its place."""

import math
from dataclasses import fields, is_dataclass
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from data.errors import SettingError

T = TypeVar("T")
_NAMES = {str: "a string", int: "an integer", float: "a finite number", bool: "true or false", NoneType: "null"}


def typed(value: Any, kind: type[T], place: str = "") -> T:
    """``value``, as ``json`` reads it, as a ``kind``: a dataclass, tuple[X, ...], dict[str, X], union or JSON scalar.

    All fields of a dataclass have to be there, as ``asdict`` writes them. Raises SettingError naming ``place`` in the
    value. What a dataclass refuses by itself is raised as it is.
    """
    return _typed(value, kind, place)  # type: ignore[no-any-return]


def _typed(value: Any, kind: Any, place: str) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _dataclass(value, kind, place)
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(value, "a list", place)
        return tuple(_typed(item, parts[0], f"{place}[{number}]") for number, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(value, "an object", place)
        return {key: _typed(item, parts[1], f"{place}.{key}") for key, item in value.items()}
    kinds = parts or (kind,)  # of a union, or the one
    if not any(_is(value, each) for each in kinds):
        raise _wrong(value, " or ".join(_NAMES[each] for each in kinds), place)
    return value


def _is(value: Any, kind: type) -> bool:
    """Whether a scalar is one of JSON's ``kind``; a whole number is a number, true is none."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float)) and math.isfinite(value) if kind is float else isinstance(value, kind)


def _dataclass(value: Any, kind: Any, place: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(value, "an object", place)
    known = {entry.name for entry in fields(kind)}
    if set(value) != known:
        raise SettingError(f"{place or 'it'}: keys differ from the format's: {sorted(set(value) ^ known)}")
    hints = get_type_hints(kind)
    return kind(**{key: _typed(item, hints[key], f"{place}.{key}".lstrip(".")) for key, item in value.items()})


def _wrong(value: Any, wanted: str, place: str) -> SettingError:
    found = "null" if value is None else f"a {type(value).__name__}"
    return SettingError(f"{place} is {found}; it must be {wanted}")

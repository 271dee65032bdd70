"""YAML 1.2, with numbers where numbers are expected.

PyYAML reads YAML 1.1, where 010 is 8, `no` is False and 1e-3 is text; authors of a grid expect YAML 1.2.
"""

from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from dmash_core.errors import UserError, unknown


def load(text: str) -> Any:
    """Parse a YAML 1.2 document. ValueError, in one line, if it is invalid or has a duplicate key."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError) as error:
        raise ValueError(" ".join(str(error).split("To suppress")[0].split())) from None


def whole(value: Any) -> Any:
    """Convert whole floats to int (1e3 to 1000); return anything else unchanged."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_SAID = {int: "an integer", float: "a number", bool: "true or false", str: "text"}


def as_kind(value: Any, kind: Any, where: str) -> Any:
    """Convert `value` to the field type `kind`: 1e3 to 1000 for int, 1 to 1.0 for float. UserError naming `where`
    otherwise."""
    if get_origin(kind) in (Union, UnionType):
        if value is None and NoneType in get_args(kind):
            return None
        (kind,) = [part for part in get_args(kind) if part is not NoneType]
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise unknown(where, str(value), map(str, get_args(kind)))
        return value
    if kind is int:
        value = whole(value)
    elif kind is float and type(value) is int:
        value = float(value)
    if kind in _SAID and type(value) is not kind:
        raise UserError(f"{where} must be {_SAID[kind]}, not {value!r}")
    return value


def typed(given: dict, kind: type, what: str, whose: str, but: tuple[str, ...] = ()) -> dict:
    """Convert the values of `given` to the field types of the dataclass `kind`. UserError for an unknown name.

    Messages call a name "`what` of `whose`". Fields in `but` are not allowed.
    """
    hints, known = get_type_hints(kind), sorted(field.name for field in fields(kind) if field.name not in but)
    for name in given:
        if name not in known:
            raise unknown(f"{what} of {whose}", str(name), known)
    return {name: as_kind(value, hints[name], f"{what} {name!r} of {whose}") for name, value in given.items()}

"""YAML 1.2, and numbers where numbers have to be.

YAML 1.1, which PyYAML reads, takes 010 for 8, `no` for False and 1e-3 for text; people who write a grid mean 1.2.
"""

from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from dmash_core.errors import UserError, unknown


def load(text: str) -> Any:
    """What a YAML 1.2 document says; ValueError, in one line, where it is none or names a key twice."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError) as error:
        raise ValueError(" ".join(str(error).split("To suppress")[0].split())) from None


def whole(value: Any) -> Any:
    """1000 of 1e3; anything that is no whole number as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_SAID = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def as_kind(value: Any, kind: Any, where: str) -> Any:
    """`value` as a field of the type `kind` has it: 1e3 as 1000, 1 as 1.0. UserError, which names `where`, else."""
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
        raise UserError(f"{where} has to be {_SAID[kind]}, not {value!r}")
    return value


def typed(given: dict, kind: type, what: str, whose: str, but: tuple[str, ...] = ()) -> dict:
    """`given` with every value as the field of the dataclass `kind` has it; UserError for a name that it lacks.

    `what` of `whose` is how a message calls such a name; fields in `but` are none.
    """
    hints, known = get_type_hints(kind), sorted(field.name for field in fields(kind) if field.name not in but)
    for name in given:
        if name not in known:
            raise unknown(f"{what} of {whose}", str(name), known)
    return {name: as_kind(value, hints[name], f"{what} {name!r} of {whose}") for name, value in given.items()}

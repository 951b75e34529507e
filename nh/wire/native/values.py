"""The values of commands and results in JSON.

Identifiers are bytes inside nh and text in JSON: a string if they are UTF-8, else {"base64": "…"}. Sides are
"from" and "to", structs are objects with all their fields. Knows no commands and no envelopes.
"""

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import inspect

from nh.calls.media import Side
from nh.errors import MalformedRequest

T = TypeVar("T")


class Base64(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An identifier that is not UTF-8 (RFC 4648 section 4, with padding)."""

    base64: str


Identifier = str | Base64

_PLAIN: Final = frozenset({str, int, float, bool, type(None)})
"""Types that JSON has."""


def read_identifier(value: Identifier, *, where: str) -> bytes:
    """The bytes of an identifier.

    Args:
        value: from JSON.
        where: the name of the field, for error messages.

    Raises:
        MalformedRequest: it has half a surrogate pair, or is not Base64.
    """
    try:
        if isinstance(value, str):
            return value.encode()
        return base64.b64decode(value.base64, validate=True)
    except UnicodeEncodeError as exc:
        raise MalformedRequest(f"{where}: character {exc.start} is half of a surrogate pair") from exc
    except ValueError as exc:
        raise MalformedRequest(f"{where}: base64 cannot be decoded") from exc


def _identifier_to_json(value: bytes) -> object:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def to_json(value: object, identifier: Callable[[bytes], object] = _identifier_to_json) -> object:
    """Convert a value, and everything in it, for msgspec.json; types unknown here are left to msgspec.

    Args:
        value: a result, or a part of one.
        identifier: what stands for an identifier.
    """
    match value:
        case _ if type(value) in _PLAIN:  # most are, and a list of calls has thousands
            pass
        case bytes():
            return identifier(value)
        case Side():
            return value.name.lower()
        case msgspec.Struct():
            names = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
            return {name: to_json(getattr(value, field), identifier) for field, name in names}
        case Mapping():
            return {_key_text(key): to_json(item, identifier) for key, item in value.items()}
        case list() | tuple():
            return [to_json(item, identifier) for item in value]
    return value


def _key_text(key: object) -> object:
    return key.decode(errors="backslashreplace") if isinstance(key, bytes) else key


def from_json(value: object, result_type: type[T]) -> T:
    """The reverse of to_json().

    Args:
        value: decoded by msgspec.json.
        result_type: a struct; fields that it does not have are ignored, so that an older client understands
            a newer server.

    Raises:
        msgspec.ValidationError, MalformedRequest: `value` is not such a struct.
    """
    return msgspec.convert(_shaped(value, inspect.type_info(result_type)), result_type)


def _shaped(value: Any, info: inspect.Type) -> object:
    """`value` as msgspec.convert needs it for `info`, which rejects values of another shape."""
    match info:
        case inspect.BytesType():
            return read_identifier(msgspec.convert(value, Identifier), where="identifier")
        case inspect.EnumType(cls=cls) if cls is Side and value in ("from", "to"):
            return Side[value.upper()]
        case inspect.VarTupleType(item_type=item_type) if isinstance(value, list):
            return [_shaped(item, item_type) for item in value]
        case inspect.UnionType(types=types) if isinstance(value, dict):  # a struct, or null
            return next(
                (_shaped(value, each) for each in types if isinstance(each, inspect.StructType)), value
            )
        case inspect.StructType() if isinstance(value, dict):
            present = [field for field in info.fields if field.encode_name in value]
            shaped = {field.encode_name: _shaped(value[field.encode_name], field.type) for field in present}
            return list(shaped.values()) if info.array_like else shaped
        case _:
            return value

"""How the vocabulary's values look in JSON, and back: what makes the native protocol pleasant to read.

Identifiers are bytes inside and text in JSON: a string of their UTF-8, or {"base64": "…"} for bytes that are
no UTF-8. Sides are "from" and "to", structs are objects with all their fields. Knows no commands and no
envelopes: those are nh.wire.native's.
"""

import base64
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from nh.calls.media import Side
from nh.errors import MalformedRequest

T = TypeVar("T")


class Base64(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An identifier that is no UTF-8 (RFC 4648 section 4, with padding)."""

    base64: str


Identifier = str | Base64


def read_identifier(value: Identifier, *, where: str) -> bytes:
    """The bytes that `value` means.

    Raises MalformedRequest, beginning with `where`, if it has no UTF-8 or is no Base64.
    """
    try:
        if isinstance(value, str):
            return value.encode()
        return base64.b64decode(value.base64, validate=True)
    except UnicodeEncodeError as exc:
        raise MalformedRequest(f"{where}: character {exc.start} is half of a surrogate pair") from exc
    except ValueError as exc:
        raise MalformedRequest(f"{where}: base64 cannot be decoded: {exc}") from exc


def to_json(value: object) -> object:
    """`value` with everything in it as msgspec.json shall write it; unknown types are left to msgspec."""
    match value:
        case bytes():
            return _identifier_to_json(value)
        case Side():
            return value.name.lower()
        case msgspec.Struct():
            names = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
            return {name: to_json(getattr(value, field)) for field, name in names}
        case Mapping():
            return {_key_text(key): to_json(item) for key, item in value.items()}
        case list() | tuple():
            return [to_json(item) for item in value]
        case _:
            return value


def _identifier_to_json(value: bytes) -> object:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _key_text(key: object) -> object:
    return key.decode(errors="backslashreplace") if isinstance(key, bytes) else key


def from_json(value: object, result_type: type[T]) -> T:
    """The struct that `to_json` made `value` of.

    Arguments:
        value: what msgspec.json decoded.
        result_type: a struct of nh.commands; fields that it does not have are ignored, so that an older
            client understands a newer server.

    Raises msgspec.ValidationError or MalformedRequest for anything else.
    """
    return msgspec.convert(_shaped(value, inspect.type_info(result_type)), result_type)


def _shaped(value: Any, info: inspect.Type) -> object:
    """`value` as msgspec.convert wants it for `info`; what has another shape is left for it to refuse."""
    match info:
        case inspect.BytesType():
            return read_identifier(msgspec.convert(value, Identifier), where="identifier")
        case inspect.EnumType(cls=cls) if cls is Side and value in ("from", "to"):
            return Side[value.upper()]
        case inspect.VarTupleType(item_type=item_type) if isinstance(value, list):
            return [_shaped(item, item_type) for item in value]
        case inspect.StructType() if isinstance(value, dict):
            present = [field for field in info.fields if field.encode_name in value]
            shaped = {field.encode_name: _shaped(value[field.encode_name], field.type) for field in present}
            return list(shaped.values()) if info.array_like else shaped
        case _:
            return value

"""The schemas of the API's OpenAPI description; they follow from nh.results and nh.stats.layout."""

from typing import Any, Final

import msgspec

from nh.calls.call_event import CallEvent, Client
from nh.calls.media import RelayMedia
from nh.results import CallDetail, CallEvents, CallList, CallRecord, DrainState, EndedCalls
from nh.stats.fields import FieldInfo
from nh.stats.layout import GROUP_TABLE, SHARD_TABLE, STATUS_TABLE, SUPERVISOR_TABLE, ShardState
from nh.stats.reading import HISTOGRAMS
from nh.verdict import CallVerdict


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


_REF: Final = "#/components/schemas/{name}"

_IDENTIFIER: Final = {
    "description": "An identifier of SIP: text, or the base64 of bytes that are not UTF-8.",
    "oneOf": [
        {"type": "string"},
        _object({"base64": {"type": "string", "contentEncoding": "base64"}}),
    ],
}

_ERROR: Final = _object({"error": _object({"code": {"type": "string"}, "message": {"type": "string"}})})

_HEALTH: Final = _object(
    {
        "ok": {"type": "boolean"},
        "why": {"type": "string"},
        "load_percent": {"type": "integer"},
        "at_limit": {"type": "integer"},
        "limits": {"type": "array", "items": {"type": "string"}},
    }
)

_ARRAY_LIKE: Final = {each.__name__: each for each in (RelayMedia, Client, CallEvent)}
"""Structs that are arrays inside nh, and objects in the API."""


def reference(name: str) -> dict[str, str]:
    """The reference to a schema."""
    return {"$ref": _REF.format(name=name)}


def schemas() -> dict[str, Any]:
    """The schemas by name."""
    _, known = msgspec.json.schema_components(
        (CallList, CallDetail, CallEvents, CallRecord, EndedCalls, CallVerdict, DrainState),
        ref_template=_REF,
    )
    named = {name: _as_sent(schema) for name, schema in known.items()}
    named["Side"] = {"enum": ["from", "to"]}
    closed = _object({"call_id": reference("Identifier"), "closed": {"type": "integer"}})
    named["ClosedCall"] = closed
    named["CallListOrEndedCalls"] = _one_of("CallList", "EndedCalls")
    named["CallDetailOrRecord"] = _one_of("CallDetail", "CallRecord")
    return named | {"Identifier": _IDENTIFIER, "Error": _ERROR, "Health": _HEALTH, "Stats": _stats()}


def _one_of(*names: str) -> dict[str, Any]:
    return {"oneOf": [reference(name) for name in names]}


def _as_sent(schema: Any) -> Any:
    """A schema of msgspec's as nh.wire.native.values.to_json() writes its values."""
    if isinstance(schema, list):
        return [_as_sent(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("contentEncoding") == "base64":
        return reference("Identifier")
    if "prefixItems" in schema:
        names = _ARRAY_LIKE[schema["title"]].__struct_encode_fields__
        return _object(dict(zip(names, _as_sent(schema["prefixItems"]), strict=True)))
    changed = {name: _as_sent(item) for name, item in schema.items() if name != "default"}
    # the tag of a struct is not sent
    properties = changed.get("properties")
    if isinstance(properties, dict) and "enum" in properties.get("type", {}):
        del properties["type"]
        changed["required"] = [name for name in changed["required"] if name != "type"]
    return changed


def _stats() -> dict[str, Any]:
    groups = {"type": "array", "items": _object(_fields(GROUP_TABLE))}
    age = {"type": ["number", "null"], "description": "seconds since the last publication"}
    shared = tuple(field for field in STATUS_TABLE if field.name != "state") + SHARD_TABLE
    shard = _fields(shared) | {
        "shard": {"type": "integer"},
        "state": {"enum": [state.name.lower() for state in ShardState]},
        "heartbeat_age_s": age,
        "histograms": _histograms(),
    }
    return _object(
        {
            "time": {"type": "number", "description": "wall clock of the reading, seconds since 1970"},
            "version": {"type": "string"},
            "supervisor": _object(
                _fields(SUPERVISOR_TABLE) | {"heartbeat_age_s": age, "standby_groups": groups}
            ),
            "shards": {"type": "array", "items": _object(shard)},
            "totals": {
                "type": "object",
                "properties": {"histograms": _histograms()},
                "additionalProperties": {"type": ["number", "null"]},
            },
        }
    )


def _histograms() -> dict[str, Any]:
    numbers = {"type": "array", "items": {"type": "number"}}
    return _object(
        {
            info.name: {
                "description": f"{info.help} ({info.unit}); counts has one more range than bounds",
                **_object({"bounds": numbers, "counts": numbers, "sum": {"type": "number"}}),
            }
            for info in HISTOGRAMS
        }
    )


_TYPES: Final = {"s": "number", "text": "string"}


def _fields(table: tuple[FieldInfo, ...]) -> dict[str, Any]:
    return {
        field.name: {
            "type": _TYPES.get(field.unit, "integer"),
            "description": f"{field.help} ({field.unit})",
        }
        for field in table
    }

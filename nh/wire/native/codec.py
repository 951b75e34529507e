"""The codec of the native protocol: JSON to commands, results to JSON; see docs/reference/protocol.md.

A request is {"id": …, "command": …, fields…}, a reply {"id": …, "result": {…}} or {"id": …, "error": {"code",
"message"}}. Requests may be pipelined, and replies come in any order. Payloads have no length in front:
framing is the caller's.
"""

from collections.abc import Collection
from typing import Final, TypeVar

import msgspec

from nh.command_table import INFO
from nh.commands import Activate, Allocate, BaseCommand, Close, Command, Extension
from nh.errors import MalformedFrame, MalformedRequest, UnknownCommand
from nh.reasons import decode_fault, reason
from nh.results import Closed, ExtensionResult, Failure, Result, Stats
from nh.wire.native.requests import DECODERS, MEDIUM_FIELDS, ClientId
from nh.wire.native.values import from_json, to_json

FIRST_BYTE: Final = 0x7B
"""First byte of every payload of this protocol: the `{` of an object."""

MAX_REPLY_BYTES: Final = 1024 * 1024
"""Longest payload of a reply (requests are limited by framing.MAX_FRAME_BYTES)."""

RequestId = int | str | None
"""A client's id of its request; None only if the request's own id cannot be read."""

ResultT = TypeVar("ResultT")


# --- requests, server side ------------------------------------------------------------------------


class _Head(msgspec.Struct):
    """What is read first: the request's id, and the command, which selects the struct of the rest."""

    id: ClientId
    command: object = None


_head_decoder: Final = msgspec.json.Decoder(_Head)
_object_decoder: Final = msgspec.json.Decoder(dict[str, object])


def decode_request(payload: bytes, extensions: Collection[str] = ()) -> tuple[RequestId, Command | Failure]:
    """Decode one request. Never raises.

    Args:
        payload: of a frame.
        extensions: names of further commands; they become an Extension with one dict of fields.

    Returns:
        The request's id, None if it cannot be read, and the command, or the Failure for the reply.
    """
    request_id: RequestId = None
    try:
        head = _head_decoder.decode(payload)
        request_id = head.id
        return request_id, _decode_command(head, payload, extensions)
    except (MalformedRequest, UnknownCommand) as exc:
        return request_id, Failure(exc.code, str(exc))
    # what msgspec raises for bytes that are not JSON, not UTF-8, of the wrong shape, or nested too deep
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        return request_id, Failure(MalformedRequest.code, decode_fault(exc, "request"))


def _decode_command(head: _Head, payload: bytes, extensions: Collection[str]) -> Command:
    name = head.command
    if not isinstance(name, str):
        raise MalformedRequest("command: is missing or not a string")
    if name in DECODERS:
        return DECODERS[name].decode(payload).to_command()
    if name in extensions:
        fields = _object_decoder.decode(payload)
        del fields["id"], fields["command"]
        return Extension(name, (fields,))
    known = ", ".join(sorted({*DECODERS, *extensions}))
    raise UnknownCommand(f"command: {name[:64]!r} is unknown; the commands are {known}")


# --- replies, server side -------------------------------------------------------------------------


def encode_result(request_id: RequestId, result: Result) -> bytes:
    """The payload of the reply; one that would be longer than MAX_REPLY_BYTES becomes a Failure.

    Args:
        request_id: as decode_request gave it.
        result: of the command that decode_request gave, or the Failure itself.
    """
    if isinstance(result, Failure):
        error = {"code": result.code, "message": result.message}
        return msgspec.json.encode({"id": request_id, "error": error})
    try:
        payload = msgspec.json.encode({"id": request_id, "result": _result_to_json(result)})
    except (TypeError, ValueError, OverflowError, RecursionError):  # only an extension's value can
        return encode_result(
            request_id,
            Failure(
                "internal",
                "the result has no JSON form: it is not made of plain values",
            ),
        )
    if len(payload) > MAX_REPLY_BYTES:
        message = f"the reply has {len(payload)} bytes, more than {MAX_REPLY_BYTES}; ask for less at a time"
        return encode_result(request_id, Failure("limit", message))
    return payload


def _result_to_json(result: Result) -> object:
    match result:
        case Closed(sessions):
            return {"closed": sessions}
        case Stats():
            return to_json(result.values)
        case ExtensionResult():
            return to_json(result.value)
        case _:
            return to_json(result)


# --- client side ----------------------------------------------------------------------------------


def encode_request(request_id: int | str, command: BaseCommand[Result]) -> bytes:
    """The payload of a request.

    Args:
        request_id: the client's name for it, returned in the reply.
        command: one that the native protocol has, or an Extension with one dict of fields.

    Raises:
        TypeError, ValueError: a field of an Extension has no JSON form.
    """
    if isinstance(command, Extension):
        name, fields = command.name, to_json(command.arguments[0] if command.arguments else {})
    else:
        name, fields = INFO[type(command)].native, to_json(command)
    if not isinstance(fields, dict):
        raise TypeError(f"{name}: the argument of an extension must be a dict of its fields")
    if isinstance(command, Allocate | Activate | Close):
        key = fields.pop("key")
        fields = {**{name: value for name, value in key.items() if value is not None}, **fields}
    if isinstance(command, Allocate):
        fields["media"] = [{name: medium[name] for name in MEDIUM_FIELDS} for medium in fields["media"]]
    return msgspec.json.encode({"id": request_id, "command": name, **fields})


class _Reply(msgspec.Struct):
    id: int | str | None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: Failure | msgspec.UnsetType = msgspec.UNSET


_reply_decoder: Final = msgspec.json.Decoder(_Reply)


def split_reply(payload: bytes) -> tuple[RequestId, msgspec.Raw | Failure]:
    """Split a reply into its id and its undecoded result: the id tells the type of the result.

    Raises:
        MalformedFrame: `payload` is not a reply of this protocol.
    """
    try:
        reply = _reply_decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise MalformedFrame(f"reply: {decode_fault(exc, '')}") from exc
    if not isinstance(reply.error, msgspec.UnsetType):
        return reply.id, reply.error
    if isinstance(reply.result, msgspec.UnsetType):
        raise MalformedFrame("reply: has neither a result nor an error")
    return reply.id, reply.result


def decode_result(raw: msgspec.Raw, result_type: type[ResultT]) -> ResultT:
    """Decode the result of a reply.

    Args:
        raw: from split_reply().
        result_type: the result struct to expect, see nh.command_table.

    Raises:
        MalformedFrame: it is not a result of that type.
    """
    try:
        value = msgspec.json.decode(raw)
        if result_type is ExtensionResult:
            value = {"value": value}
        elif result_type is Stats:
            value = {"values": value}
        elif result_type is Closed and isinstance(value, dict):
            value = {"sessions": value.get("closed")}
        return from_json(value, result_type)
    except (msgspec.MsgspecError, MalformedRequest, UnicodeError, RecursionError) as exc:
        raise MalformedFrame(f"reply: not a {result_type.__name__}: {reason(exc)}") from exc


def decode_reply(payload: bytes, result_type: type[ResultT]) -> tuple[RequestId, ResultT | Failure]:
    """Decode a reply whose type of result is known.

    Returns:
        Its id, and its result or the server's Failure.

    Raises:
        MalformedFrame: `payload` is not such a reply.
    """
    request_id, content = split_reply(payload)
    return request_id, content if isinstance(content, Failure) else decode_result(content, result_type)

"""nh's own protocol: JSON objects to commands, results to JSON objects; see docs/reference/protocol.md.

A request is {"id": …, "command": …, fields…}, a reply {"id": …, "result": {…}} or {"id": …, "error": {"code",
"message"}}. Requests may be pipelined and are answered in any order. Payloads come and go without their
length; connections are the caller's.
"""

from collections.abc import Collection
from typing import Final, TypeVar

import msgspec

from nh.command_table import INFO
from nh.commands import Activate, Allocate, BaseCommand, Close, Command, Extension
from nh.errors import MalformedFrame, MalformedRequest, UnknownCommand
from nh.results import Closed, ExtensionResult, Failure, Result, Stats
from nh.wire.native.requests import DECODERS, MEDIUM_FIELDS, ClientId
from nh.wire.native.values import from_json, to_json

FIRST_BYTE: Final = 0x7B
"""First byte of every payload of this protocol: the `{` of an object."""

MAX_REPLY_BYTES: Final = 1024 * 1024
"""Longest payload of a reply (requests are limited by framing.MAX_FRAME_BYTES)."""

RequestId = int | str | None
"""What a client calls its request; None only where a request's own could not be read."""

ResultT = TypeVar("ResultT")


# --- requests, server side ------------------------------------------------------------------------


class _Head(msgspec.Struct):
    """What is read first: what to call the request, and which struct to read it with."""

    id: ClientId
    command: object = None


_head_decoder: Final = msgspec.json.Decoder(_Head)
_object_decoder: Final = msgspec.json.Decoder(dict[str, object])


def decode_request(payload: bytes, extensions: Collection[str] = ()) -> tuple[RequestId, Command | Failure]:
    """The command in one request and what to call it in the reply. Never raises.

    Arguments:
        payload: what a frame carried.
        extensions: names of further commands; they give an Extension with one dict of fields.

    A request that cannot be read gives a Failure, with None for the id if that is what cannot be read.
    """
    request_id: RequestId = None
    try:
        head = _head_decoder.decode(payload)
        request_id = head.id
        return request_id, _decode_command(head, payload, extensions)
    except (MalformedRequest, UnknownCommand) as exc:
        return request_id, Failure(exc.code, str(exc))
    # What msgspec raises for bytes that are no JSON, no UTF-8, of the wrong shape, or nested too deep.
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        return request_id, Failure(MalformedRequest.code, f"request: {exc}")


def _decode_command(head: _Head, payload: bytes, extensions: Collection[str]) -> Command:
    name = head.command
    if not isinstance(name, str):
        raise MalformedRequest("command: is missing or no string")
    if name in DECODERS:
        return DECODERS[name].decode(payload).to_command()
    if name in extensions:
        fields = _object_decoder.decode(payload)
        del fields["id"], fields["command"]
        return Extension(name, (fields,))
    known = ", ".join(sorted({*DECODERS, *extensions}))
    raise UnknownCommand(f"command: {name[:64]!r} is unknown; there are {known}")


# --- replies, server side -------------------------------------------------------------------------


def encode_result(request_id: RequestId, result: Result) -> bytes:
    """The payload of the reply; one that would be longer than MAX_REPLY_BYTES becomes a Failure.

    Arguments:
        request_id: as decode_request gave it.
        result: of the command that decode_request gave, or the Failure itself.
    """
    if isinstance(result, Failure):
        error = {"code": result.code, "message": result.message}
        return msgspec.json.encode({"id": request_id, "error": error})
    try:
        payload = msgspec.json.encode({"id": request_id, "result": _result_to_json(result)})
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:  # only an extension's value can
        return encode_result(request_id, Failure("internal", f"the result has no JSON form: {exc}"))
    if len(payload) > MAX_REPLY_BYTES:
        message = f"the reply has {len(payload)} bytes, more than {MAX_REPLY_BYTES}; ask for less at a time"
        return encode_result(request_id, Failure("limit", message))
    return payload


def _result_to_json(result: Result) -> object:
    match result:
        case Closed(sessions):
            return {"closed": sessions}
        case Stats():
            return to_json(result.snapshot)
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
    """The id of a reply and what is in it, unread: pipelining needs the id to know what to expect.

    Raises MalformedFrame if it is no reply of this protocol.
    """
    try:
        reply = _reply_decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise MalformedFrame(f"reply: {exc}") from exc
    if not isinstance(reply.error, msgspec.UnsetType):
        return reply.id, reply.error
    if isinstance(reply.result, msgspec.UnsetType):
        raise MalformedFrame("reply: has neither a result nor an error")
    return reply.id, reply.result


def decode_result(raw: msgspec.Raw, result_type: type[ResultT]) -> ResultT:
    """The result in a reply.

    Arguments:
        raw: what split_reply found.
        result_type: the result struct to expect, see nh.command_table.

    Raises MalformedFrame if it is something else.
    """
    try:
        value = msgspec.json.decode(raw)
        if result_type is ExtensionResult:
            value = {"value": value}
        elif result_type is Stats:
            value = {"snapshot": value}
        elif result_type is Closed and isinstance(value, dict):
            value = {"sessions": value.get("closed")}
        return from_json(value, result_type)
    except (msgspec.MsgspecError, MalformedRequest, UnicodeError, RecursionError) as exc:
        raise MalformedFrame(f"reply: no {result_type.__name__}: {exc}") from exc


def decode_reply(payload: bytes, result_type: type[ResultT]) -> tuple[RequestId, ResultT | Failure]:
    """The id and the result of a reply of which the kind is known.

    Raises MalformedFrame if it is no such reply.
    """
    request_id, content = split_reply(payload)
    return request_id, content if isinstance(content, Failure) else decode_result(content, result_type)

"""Messages of the link as records: msgpack, one message in each, or an array of results or of changes.

A record that cannot be decoded is a bug, and raises. A message of a type that only the sender knows, because
it runs another version of nh, is an UnknownMessage, and left alone.
"""

from collections.abc import Sequence
from typing import Final, TypeVar, get_args

import msgspec

from nh.ipc.backup_messages import BackupMessage
from nh.ipc.link_messages import Executed, FromShard, ToShard
from nh.reasons import reason

T = TypeVar("T")

_encoder: Final = msgspec.msgpack.Encoder()
_to_shard: Final[msgspec.msgpack.Decoder[ToShard]] = msgspec.msgpack.Decoder(ToShard)
_from_shard: Final[msgspec.msgpack.Decoder[FromShard]] = msgspec.msgpack.Decoder(FromShard)
_together: Final[msgspec.msgpack.Decoder[list[Executed | BackupMessage]]] = msgspec.msgpack.Decoder(
    list[Executed | BackupMessage]
)
_TO_SHARD_TYPES: Final = frozenset(each.__struct_config__.tag for each in get_args(ToShard))
_FROM_SHARD_TYPES: Final = frozenset(each.__struct_config__.tag for each in get_args(FromShard))


class UnknownMessage(msgspec.DecodeError):
    """A message of a type that this version of nh does not have; the text is the type."""


class _Tagged(msgspec.Struct):
    """What every message has."""

    type: str


_tagged: Final = msgspec.msgpack.Decoder(_Tagged)


def encode(message: ToShard | FromShard) -> bytes:
    """Encode a message as a record."""
    return _encoder.encode(message)


def encode_together(messages: Sequence[Executed | BackupMessage]) -> bytes:
    """Encode several results, or several changes, as one record."""
    return _encoder.encode(messages)


def are_together(record: bytes) -> bool:
    """Whether a record is an array of messages: by its first byte, which is another for a message."""
    return record[0] & 0xF0 == 0x90 or record[0] == 0xDC


def decode_together(record: bytes) -> list[Executed | BackupMessage]:
    """Decode several messages in one record. Raises msgspec.DecodeError."""
    return decoded(_together, record)


def changes_of(messages: Sequence[Executed | BackupMessage]) -> list[BackupMessage]:
    """What the supervisor has to back up of several messages, in order."""
    changes: list[BackupMessage] = []
    for message in messages:
        if isinstance(message, Executed):
            changes += message.backup
        else:
            changes.append(message)
    return changes


def decode_to_shard(record: bytes) -> ToShard:
    """Decode a message of the supervisor.

    Raises:
        UnknownMessage: it is one of another version.
        msgspec.DecodeError: it is invalid.
    """
    return _decoded(_to_shard, _TO_SHARD_TYPES, record)


def decode_from_shard(record: bytes) -> FromShard:
    """Decode a message of a shard.

    Raises:
        UnknownMessage: it is one of another version.
        msgspec.DecodeError: it is invalid.
    """
    return _decoded(_from_shard, _FROM_SHARD_TYPES, record)


def decoded(decoder: msgspec.msgpack.Decoder[T], record: bytes) -> T:
    """Decode a record. Raises msgspec.DecodeError for every fault in it."""
    try:
        return decoder.decode(record)
    except (UnicodeDecodeError, RecursionError) as exc:  # msgspec passes these on as they are
        raise msgspec.DecodeError(reason(exc)) from exc


def _decoded(decoder: msgspec.msgpack.Decoder[T], known: frozenset[object], record: bytes) -> T:
    try:
        return decoded(decoder, record)
    except msgspec.DecodeError:
        kind = decoded(_tagged, record).type
        if kind in known:
            raise
        raise UnknownMessage(kind) from None

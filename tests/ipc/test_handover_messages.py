"""nh.ipc.handover_messages: what generations of nh say to each other, also when one of them is newer."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.media import Endpoint
from nh.ipc.backup_messages import SaveCall
from nh.ipc.handover_messages import (
    CallSockets,
    Exit,
    FromOld,
    HandedOver,
    HandoverMessage,
    Hello,
    ToOld,
    Transfer,
    UnconfirmedRecord,
    Yield,
    decode_from_old,
    decode_to_old,
    encode,
)

FROM_OLD: list[FromOld] = [
    Hello(1, 2, "1.0", 1, 3, "maps", 4),
    CallSockets(b"\x00\xff", (Endpoint("127.0.0.1", 4000), Endpoint("::1", 4001))),
    SaveCall(b"call", b"snapshot", 1, last=False),
    UnconfirmedRecord(b"{}", 1),
    HandedOver({"packets_in": 3, "cpu_s": 0.5}),
    HandoverMessage(("/run/nh/nh.lock",), (("unix", "/run/nh/nh.sock"),), draining=True, drain_left_s=1.5),
]
TO_OLD: list[ToOld] = [Transfer(), Exit(), Yield()]


@pytest.mark.parametrize("message", FROM_OLD, ids=lambda message: type(message).__name__)
def test_what_the_older_one_says_comes_as_it_was(message: FromOld) -> None:
    assert decode_from_old(encode(message)) == message


@pytest.mark.parametrize("message", TO_OLD, ids=lambda message: type(message).__name__)
def test_what_the_newer_one_says_comes_as_it_was(message: ToOld) -> None:
    assert decode_to_old(encode(message)) == message


@pytest.mark.parametrize("message", FROM_OLD, ids=lambda message: type(message).__name__)
def test_fields_of_another_version_are_left_out(message: FromOld) -> None:
    said = msgspec.msgpack.decode(encode(message))
    assert decode_from_old(msgspec.msgpack.encode({**said, "mood": [1, {"of": "many"}]})) == message


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {"type": "hello", "shard": 0, "shards": 1, "version": "0.1", "snapshot_version": 1},
            Hello(0, 1, "0.1", 1),
        ),
        ({"type": "handed_over"}, HandedOver()),
        ({"type": "handover"}, HandoverMessage()),
        ({"type": "ended_call", "record": b"{}", "number": 1}, UnconfirmedRecord(b"{}", 1)),
    ],
)
def test_fields_that_another_version_does_not_know_have_their_defaults(
    record: dict[str, object], message: FromOld
) -> None:
    assert decode_from_old(msgspec.msgpack.encode(record)) == message


@given(st.binary(max_size=200))
def test_bytes_that_are_no_message_are_a_decode_error_and_nothing_else(record: bytes) -> None:
    for decode in (decode_from_old, decode_to_old):
        with pytest.raises(msgspec.DecodeError):
            decode(record)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=10,
)
TYPES = st.sampled_from(
    ["hello", "call_sockets", "save_call", "ended_call", "handed_over", "handover", "exit", "yield"]
)
FIELDS = st.sampled_from(
    ["shard", "call_id", "endpoints", "counters", "locks", "listeners", "snapshot", "record", "number"]
)


@given(TYPES, st.dictionaries(FIELDS, VALUES, max_size=4))
def test_fields_of_other_types_are_a_decode_error_or_a_message(kind: str, fields: dict[str, object]) -> None:
    record = msgspec.msgpack.encode({"type": kind, **fields})
    for decode in (decode_from_old, decode_to_old):
        with contextlib.suppress(msgspec.DecodeError):
            assert type(decode(record)).__struct_config__.tag == kind


@given(st.sampled_from([*FROM_OLD, *TO_OLD]), st.data())
def test_a_record_that_is_cut_or_damaged_is_a_decode_error_or_a_message(
    message: FromOld | ToOld, data: st.DataObject
) -> None:
    record = bytearray(encode(message))
    record[data.draw(st.integers(0, len(record) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(record[: data.draw(st.integers(0, len(record)))])
    for decode in (decode_from_old, decode_to_old):
        with contextlib.suppress(msgspec.DecodeError):
            decode(cut)


@pytest.mark.parametrize(
    "record",
    [
        b"\x81\xa4type\xa6\x80epart",
        b"\x81\xa4type" + b"\x91" * 100_000,
    ],
)
def test_text_that_is_none_and_lists_without_end_are_decode_errors_too(record: bytes) -> None:
    for decode in (decode_from_old, decode_to_old):
        with pytest.raises(msgspec.DecodeError):
            decode(record)

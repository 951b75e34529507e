"""The structures of relay.bpf.c and layout.py are the same ones; values keep what they are packed from."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.media import Endpoint
from nh.calls.rtp.stream_state import StreamFields
from nh.fastpath import bpf
from nh.fastpath.layout import (
    COUNTERS_BYTES,
    FLOW,
    KEY,
    STREAM,
    STREAMS,
    TOO_BIG_AT,
    FlowCounters,
    FlowEntry,
    pack_counters,
    pack_flow,
    pack_key,
    unpack_counters,
)
from tests.fastpath.btf import Btf, Member, relay_object
from tests.fastpath.flows import IPV4, IPV6, Relayed

BTF = Btf(relay_object())


def members_of(layout: struct.Struct, names: list[str]) -> list[Member]:
    """The members that a format without padding lays out, one to a code."""
    codes = [code for code in layout.format.replace("16s", "A").replace("2s", "P") if code not in "=!<"]
    members, at = [], 0
    for name, code in zip(names, codes, strict=True):
        size = {"A": 16, "P": 2}.get(code) or struct.calcsize("=" + code)
        members.append(Member(name, at, size))
        at += size
    assert at == layout.size
    return members


def test_a_flow_key_is_address_port_and_padding() -> None:
    assert BTF.members("flow_key") == [
        Member("address", 0, 16),
        Member("port", 16, 2),
        Member("target_port", 18, 2),
    ]
    assert BTF.size("flow_key") == KEY.size == 20


def test_a_flow_has_the_same_members_on_both_sides() -> None:
    names = "source out_source target source_port out_port target_port shard ifindex counter_index mtu_bytes"
    more = "clock_hz family tos rtp payload_type"
    assert BTF.members("flow") == members_of(FLOW, [*names.split(), *more.split()])
    assert BTF.size("flow") == FLOW.size == 76


def test_a_stream_has_the_same_members_on_both_sides() -> None:
    assert BTF.members("stream") == members_of(STREAM, list(StreamFields._fields))
    assert BTF.size("stream") == STREAM.size == 56


def test_a_reading_has_the_same_members_on_both_sides() -> None:
    assert BTF.members("flow_counters") == [
        Member("packets", 0, 8),
        Member("bytes", 8, 8),
        Member("last_seen_ns", 16, 8),
        Member("next_stream", 24, 4),
        Member("too_big", TOO_BIG_AT, 4),
        Member("streams", 32, STREAMS * STREAM.size),
    ]
    assert BTF.size("flow_counters") == COUNTERS_BYTES == 256


def test_every_member_of_a_flow_is_where_the_kernel_looks_for_it() -> None:
    flow = FlowEntry(
        source=Endpoint("1.2.3.4", 0x0102),
        out=Endpoint("5.6.7.8", 0x0304),
        target=Endpoint("9.10.11.12", 0x0506),
        shard=0xA1,
        ifindex=0xA2,
        counter_index=0xA3,
        mtu_bytes=0xA4,
        clock_hz=0xA5,
        tos=0xA6,
        rtp=True,
        leave_rtcp=True,
        payload_type=0x77,
    )
    packed = pack_flow(flow)
    found = {name: packed[at : at + size] for name, at, size in BTF.members("flow")}
    mapped = bytes(10) + b"\xff\xff"
    addresses = [found.pop(name) for name in ("source", "out_source", "target")]
    assert addresses == [mapped + bytes(range(n, n + 4)) for n in (1, 5, 9)]
    ports = [found.pop(name) for name in ("source_port", "out_port", "target_port")]
    assert ports == [b"\1\2", b"\3\4", b"\5\6"]
    numbers = {name: int.from_bytes(data, "little") for name, data in found.items()}
    assert numbers == {
        "shard": 0xA1,
        "ifindex": 0xA2,
        "counter_index": 0xA3,
        "mtu_bytes": 0xA4,
        "clock_hz": 0xA5,
        "family": 4,
        "tos": 0xA6,
        "rtp": 3,
        "payload_type": 0x77,
    }


@pytest.mark.parametrize(("relayed", "family"), [(IPV4, 4), (IPV6, 6)])
def test_the_family_is_that_of_the_addresses(relayed: Relayed, family: int) -> None:
    at = next(member.offset for member in BTF.members("flow") if member.name == "family")
    assert pack_flow(relayed.flow)[at] == family


def test_keys_are_in_network_byte_order() -> None:
    assert pack_key(Endpoint("192.0.2.1", 0x7531)) == bytes(10) + b"\xff\xff\xc0\x00\x02\x01\x75\x31\0\0"
    assert pack_key(Endpoint("2001:db8::1", 1)) == bytes.fromhex("20010db8" + "00" * 11 + "0100010000")


def test_a_flow_is_of_one_family() -> None:
    with pytest.raises(ValueError, match="more than one address family"):
        pack_flow(IPV4.flow._replace(target=IPV6.flow.target))


@pytest.mark.parametrize(
    "number", [{"tos": 256}, {"counter_index": -1}, {"ifindex": 1 << 32}, {"payload_type": 256}]
)
def test_numbers_out_of_range_are_not_packed(number: dict[str, int]) -> None:
    with pytest.raises(struct.error):
        pack_flow(IPV4.but(**number).flow)


U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
BYTE = st.integers(0, 255)
ANY_STREAM = st.builds(
    StreamFields, U64, U64, U64, U32, U32, U32, U32, U32, U32, U32, highest=U16, payload_type=BYTE, used=BYTE
)
ANY_COUNTERS = st.builds(
    FlowCounters, U64, U64, U64, U32, st.lists(ANY_STREAM, min_size=STREAMS, max_size=STREAMS).map(tuple)
)


@given(st.lists(ANY_COUNTERS, min_size=1, max_size=3))
def test_counters_are_read_as_they_were_written(written: list[FlowCounters]) -> None:
    memory = b"".join(map(pack_counters, written))
    assert [unpack_counters(memoryview(memory), index) for index in range(len(written))] == written


def test_an_empty_reading_is_all_zero() -> None:
    assert pack_counters(FlowCounters()) == bytes(COUNTERS_BYTES)


def test_the_object_declares_the_maps_that_the_loader_makes() -> None:
    """For those who load the object with other tools."""
    assert BTF.map_definition("flows") == {"type": bpf.MapKind.HASH, "key": "flow_key", "value": "flow"}
    assert BTF.map_definition("counters") == {
        "type": bpf.MapKind.ARRAY,
        "map_flags": bpf.MMAPABLE,
        "key": "__u32",
        "value": "flow_counters",
    }

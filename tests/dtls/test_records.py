"""Datagrams and records: none is lost, none too long."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from nh.dtls.records import ContentType, DtlsRecord, pack, split


def record(size: int) -> DtlsRecord:
    return record_of(ContentType.HANDSHAKE, bytes(size))


def record_of(kind: int, payload: bytes) -> DtlsRecord:
    whole = bytes([kind, 0xFE, 0xFD]) + bytes(8) + len(payload).to_bytes(2, "big") + payload
    return DtlsRecord(kind, 0, whole)


@given(st.lists(st.integers(0, 1500)))
def test_records_are_packed_in_their_order(sizes: list[int]) -> None:
    records = [record(size) for size in sizes]
    datagrams = pack(records, 1200)
    assert [each for datagram in datagrams for each in split(datagram)] == records
    assert all(len(each) <= 1200 or len(list(split(each))) == 1 for each in datagrams)
    assert all(
        len(one) + len(next(split(other)).whole) > 1200 for one, other in itertools.pairwise(datagrams)
    )


@given(st.binary(max_size=100))
def test_what_is_no_record_ends_a_datagram(data: bytes) -> None:
    assert list(split(record(20).whole + b"\x16\0" + data)) == [record(20)]


PAYLOADS = st.lists(
    st.tuples(st.integers(20, 25), st.sampled_from([b"", b"\1", b"\2"]), st.binary(max_size=40))
)


@given(PAYLOADS, st.binary(max_size=100))
def test_any_bytes_begin_with_their_records(payloads: list[tuple[int, bytes, bytes]], rest: bytes) -> None:
    records = [record_of(kind, begin + payload) for kind, begin, payload in payloads]
    data = b"".join(each.whole for each in records) + rest
    found = list(split(data))
    assert found[: len(records)] == records
    assert data.startswith(b"".join(each.whole for each in found))
    for each in found:
        is_hello = each.is_client_hello or each.is_hello_fragment
        assert not is_hello or (each.content_type, each.payload[:1]) == (ContentType.HANDSHAKE, b"\1")

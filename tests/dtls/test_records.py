"""Datagrams and records: none is lost, none too long."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from nh.dtls.records import DtlsRecord, pack, split


def record(size: int, kind: int = 22) -> DtlsRecord:
    whole = bytes([kind, 0xFE, 0xFD]) + bytes(8) + size.to_bytes(2, "big") + bytes(size)
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
    for each in split(data):
        assert each.whole in data
        assert each.is_client_hello in (True, False)
        assert each.is_hello_fragment in (True, False)

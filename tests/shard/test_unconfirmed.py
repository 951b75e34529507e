"""nh.shard.recovery.unconfirmed: records stay until they are confirmed, and are bounded."""

from nh.shard.recovery import unconfirmed
from nh.shard.recovery.unconfirmed import UnconfirmedRecords


def test_records_are_numbered_and_stay_until_they_are_confirmed() -> None:
    records = UnconfirmedRecords()
    for number in range(1, 5):
        assert records.add(b"call", b"%d" % number).number == number
    assert [each.number for each in records.after(2)] == [3, 4]
    records.confirm(3)
    assert [each.record for each in records] == [b"4"]
    records.confirm(1)
    records.confirm(9)
    assert list(records) == []
    assert records.add(b"call", b"next").number == 5


def test_without_a_supervisor_the_oldest_are_lost_in_the_end() -> None:
    records = UnconfirmedRecords()
    for _ in range(unconfirmed.MAX_RECORDS + 10):
        records.add(b"call", b"x")
    assert (len(list(records)), records.lost) == (unconfirmed.MAX_RECORDS, 10)
    large = UnconfirmedRecords()
    for _ in range(10):
        large.add(b"call", bytes(unconfirmed.MAX_BYTES // 4))
    assert (len(list(large)), large.lost) == (4, 6)

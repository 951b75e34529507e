"""What is listed of a stream: its holes, its doubled packets and its gaps, without the sender's lateness."""

from tools.rtpload.streams.record import Gap, Hole, Recorder, StreamRecord

MS = 1_000_000
PACKET_NS = 20 * MS
START_NS = 1_000 * MS
TRANSIT_NS = MS


def sent_at(number: int) -> int:
    return START_NS + number * PACKET_NS


def note(recorder: Recorder, *numbers: int) -> None:
    for number in numbers:
        recorder.note(number, sent_at(number), sent_at(number) + TRANSIT_NS)


def close(recorder: Recorder, sent: int) -> StreamRecord:
    return recorder.close(call=7, sender="caller", sent=sent, dropped_here=0)


def test_a_whole_stream_has_no_holes_and_its_longest_gap_is_the_pacing() -> None:
    recorder = Recorder(PACKET_NS)
    note(recorder, *range(50))
    record = close(recorder, 50)
    assert (record.holes, record.doubled, record.gaps) == ((), (), ())
    assert record.longest == Gap(START_NS + TRANSIT_NS, PACKET_NS)
    assert str(record) == "call 7, RTP of its caller"


def test_holes_are_runs_of_lost_packets_with_the_time_when_they_were_sent() -> None:
    recorder = Recorder(PACKET_NS)
    note(recorder, 0, 1, 4, 5, 7)
    record = close(recorder, 10)
    assert record.holes == (Hole(2, 3, sent_at(2)), Hole(6, 6, sent_at(6)), Hole(8, 9, sent_at(8)))
    assert (record.lost, record.received) == (5, 5)


def test_what_is_lost_before_the_first_arrival_was_sent_before_it() -> None:
    recorder = Recorder(PACKET_NS)
    note(recorder, 3, 5)
    record = close(recorder, 6)
    assert record.holes == (Hole(0, 2, sent_at(0)), Hole(4, 4, sent_at(4)))


def test_a_stream_that_never_arrived_has_no_times_of_sending() -> None:
    assert close(Recorder(PACKET_NS), 3).holes == (Hole(0, 2, 0),)


def test_a_late_packet_is_neither_lost_nor_doubled() -> None:
    recorder = Recorder(PACKET_NS)
    note(recorder, 0, 2, 3, 1, 4)
    record = close(recorder, 5)
    assert (record.holes, record.doubled) == ((), ())


def test_doubled_packets_are_listed_once_for_each_time() -> None:
    recorder = Recorder(PACKET_NS)
    note(recorder, 0, 1, 1, 2, 1, 2)
    assert close(recorder, 3).doubled == (1, 1, 2)


def test_a_late_sender_makes_no_gap() -> None:
    recorder = Recorder(PACKET_NS)
    note(recorder, 0)
    late_ns = 300 * MS
    recorder.note(1, sent_at(1) + late_ns, sent_at(1) + late_ns + TRANSIT_NS)
    note(recorder, 20)
    assert close(recorder, 2).gaps == (Gap(sent_at(1) + late_ns + TRANSIT_NS, 80 * MS),)


def test_what_is_lost_or_held_up_makes_a_gap() -> None:
    recorder = Recorder(PACKET_NS)
    note(recorder, 0, 10)
    recorder.note(11, sent_at(11), sent_at(11) + 100 * MS)
    record = close(recorder, 12)
    assert record.longest == Gap(sent_at(0) + TRANSIT_NS, 200 * MS)
    assert [gap.length_ns for gap in record.gaps] == [200 * MS, 119 * MS]


def test_reports_come_at_random_times_and_have_no_gaps() -> None:
    recorder = Recorder(0)
    note(recorder, 0, 1, 1, 3)
    record = close(recorder, 4)
    assert (record.longest, record.gaps, record.media) == (None, (), False)
    assert (record.lost, record.doubled) == (1, (1,))

"""nh.wire.rtpproxy: results to the lines that Kamailio and OpenSIPS read."""

import pytest

from nh.results import Closed, Failure, Pong, RelayPort, Result, SessionCounters, Stats
from nh.stats.layout import SHARD_TABLE, SUPERVISOR_TABLE
from nh.wire.rtpproxy import MAX_REPLY_BYTES, decode_request, encode_reply
from nh.wire.rtpproxy.replies import COUNTERS, STATISTICS

UPDATE = b"U c 192.0.2.7 4000 a"
LOOKUP = b"L c 192.0.2.7 4000 a b"
VALUES = Stats(
    {
        "totals": {field.name: 3 for field in SHARD_TABLE},
        "supervisor": {field.name: 5 for field in SUPERVISOR_TABLE},
    }
)
MEASURED = SessionCounters(30, 1, 2, 3, 4, 5, 6, 7, 8)


def reply(line: bytes, result: Result) -> bytes:
    return encode_reply(decode_request(line), result)


@pytest.mark.parametrize(
    ("line", "result", "said"),
    [
        (b"V", Pong("1"), b"20040107\n"),
        (b"VF 20050322", Pong("1"), b"1\n"),
        (b"VF 20071116", Pong("1"), b"0\n"),
        (UPDATE, RelayPort(35_000, "192.0.2.1"), b"35000 192.0.2.1\n"),
        (LOOKUP, RelayPort(35_000, "2001:db8::1"), b"35000 2001:db8::1 6\n"),
        (b"D c a", Closed(2), b"0\n"),
        (b"X", Closed(0), b"0\n"),
        (b"Q c a b", MEASURED, b"30 1 2 3 4\n"),
        (b"Qv c a b", MEASURED, b"ttl=30 npkts_ina=1 npkts_ino=2 nrelayed=3 ndropped=4\n"),
        (b"Q c a b rtpa_nlost ttl", MEASURED, b"8 30\n"),
        (b"Q c a b rtpa_jmax", MEASURED, b"E62\n"),
        (b"G npkts_rcvd ncmds_rcvd", VALUES, b"3 5\n"),
        (b"Gv npkts_rcvd", VALUES, b"npkts_rcvd=3\n"),
        (b"G nplrs_created", VALUES, b"E68\n"),
        (b"G", VALUES, b"\n"),
        (
            b"I",
            VALUES,
            b"sessions created: 3\nactive sessions: 3\nactive streams: 6\n"
            b"packets received: 3\npackets transmitted: 3\n",
        ),
    ],
)
def test_a_result_is_a_line(line: bytes, result: Result, said: bytes) -> None:
    assert reply(line, result) == said


@pytest.mark.parametrize("notifies", [False, True])
def test_notifications_are_a_feature_where_the_settings_have_a_socket(notifies: bool) -> None:
    request = decode_request(b"VF 20081224", notifies=notifies)
    assert encode_reply(request, Pong("1")) == b"%d\n" % notifies


@pytest.mark.parametrize("code", ["draining", "limit", "no_ports", "bad_address", "unavailable", "timeout"])
def test_opensips_tries_another_relay_for_a_new_call_and_never_for_an_answer(code: str) -> None:
    """OpenSIPS fails over for E7 to E10 in the reply to U; in the reply to L these end its process."""
    assert 7 <= int(reply(UPDATE, Failure(code, ""))[1:]) <= 10
    assert int(reply(LOOKUP, Failure(code, ""))[1:]) > 10


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        (UPDATE, "unsupported", b"E36\n"),
        (UPDATE, "internal", b"E72\n"),
        (LOOKUP, "not_found", b"0\n"),
        (b"D c a", "not_found", b"E50\n"),
        (b"Q c a b", "not_found", b"E50\n"),
        (b"Q c a b", "timeout", b"E98\n"),
        (b"W", "", b"E0\n"),
        (b"U", "", b"E1\n"),
    ],
)
def test_a_failure_is_a_number(line: bytes, code: str, said: bytes) -> None:
    request = decode_request(line)
    failure = request.command if isinstance(request.command, Failure) else Failure(code, "")
    assert encode_reply(request, failure) == said


def test_no_reply_is_longer_than_clients_read() -> None:
    long = SessionCounters(*[2**63] * 9)
    names = " ".join(COUNTERS).encode()
    assert len(reply(b"Qv c a b", long)) <= MAX_REPLY_BYTES
    assert reply(b"Qv c a b " + names, long) == b"E26\n"
    names = " ".join(STATISTICS).encode()
    assert reply(b"Gv " + names, VALUES)[:1] != b"E"
    assert reply(b"Gv " + names + b" " + names, VALUES) == b"E25\n"


def test_names_of_counters_are_distinct_words() -> None:
    assert all(name.isidentifier() for name in (*COUNTERS, *STATISTICS))

"""nh.wire.rtpproxy: lines of Kamailio, OpenSIPS and other clients, to commands."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nh.calls.media import MAX_MEDIA
from nh.calls.timeouts import TimeoutTarget
from nh.commands import (
    MAX_ID_BYTES,
    DeleteAll,
    DeleteSessions,
    GetStats,
    Lookup,
    Ping,
    QuerySession,
    SessionOptions,
    Update,
)
from nh.printable import SHORT_BYTES
from nh.results import Failure
from nh.wire.rtpproxy import MAX_REQUEST_BYTES, decode_request, split_cookie
from nh.wire.rtpproxy.modifiers import read_session_options
from nh.wire.rtpproxy.requests import MAX_ARGUMENTS, MAX_COOKIE_BYTES, REQUESTS, UNSUPPORTED
from tests.wire.fuzz import fuzzed, mutated

PLAIN = SessionOptions()


def options(**fields: object) -> SessionOptions:
    return SessionOptions(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "command"),
    [
        # Kamailio's INVITE, 200 and BYE
        (
            b"U c@h;z9hG4bK.1 192.0.2.7 4000 a;1",
            Update(b"c@h;z9hG4bK.1", b"a", b"", 1, "192.0.2.7", 4000, PLAIN),
        ),
        (b"L c 192.0.2.7 4000 a;1 b;1", Lookup(b"c", b"a", b"b", 1, "192.0.2.7", 4000, PLAIN)),
        (b"D c a b", DeleteSessions(b"c", b"a", b"b")),
        (b"Dw c a", DeleteSessions(b"c", b"a", weak=True)),
        # OpenSIPS with a notification, over TCP
        (
            b"Uc0,8,101 c ::1 4000 a;2 b;2 tcp:127.0.0.1:9 T1.2\n",
            Update(b"c", b"a", b"b", 2, "::1", 4000, PLAIN, TimeoutTarget("tcp:127.0.0.1:9", b"T1.2")),
        ),
        (
            b"U c 192.0.2.7 4000 a;2 unix:/s T%20%2525",
            Update(b"c", b"a", b"", 2, "192.0.2.7", 4000, PLAIN, TimeoutTarget("unix:/s", b"T %25")),
        ),
        # Kamailio's timeout_socket, which comes without a tag
        (b"U c 192.0.2.7 4000 a;1 b;1 unix:/s", Update(b"c", b"a", b"b", 1, "192.0.2.7", 4000, PLAIN)),
        (b"u c phone.example 0 a", Update(b"c", b"a", b"", 0, "phone.example", 0, PLAIN)),
        (b"Q c a;1 b;1", QuerySession(b"c", b"a", b"b", 1)),
        (b"Qv c a b ttl", QuerySession(b"c", b"a", b"b", 0)),
        (b"X", DeleteAll()),
        (b"V", Ping()),
        (b"VF 20050322", Ping()),
        (b"G npkts_rcvd", GetStats()),
        (b"Ib", GetStats()),
    ],
)
def test_a_line_is_a_command(line: bytes, command: object) -> None:
    assert decode_request(line).command == command


@pytest.mark.parametrize(
    ("modifiers", "read"),
    [
        ("", PLAIN),
        ("A", options(asymmetric=True)),
        ("AS", PLAIN),
        ("6", options(family=6)),
        ("IE", options(bridge=(0, 1))),
        ("e", options(bridge=(1,))),
        ("Wn", options(weak=True, new_port=True)),
        ("Z20c0,8,101IE", options(bridge=(0, 1))),
        ("L192.0.2.1", options(local="192.0.2.1")),
        ("l{out side}A", options(local="out side", asymmetric=True)),
        ("6R[2001:DB8::1]c0", options(family=6, remote="2001:db8::1")),
    ],
)
def test_modifiers_are_options(modifiers: str, read: SessionOptions) -> None:
    assert read_session_options(modifiers) == read


@pytest.mark.parametrize(
    ("line", "number"),
    [
        (b"", 5),
        (b"   ", 5),
        (b"U c 192.0.2.7 4000 a\0b", 5),
        (b"V " + b"x " * MAX_ARGUMENTS, 5),
        (b"V " + b"x" * MAX_REQUEST_BYTES, 5),
        (b"Y c", 0),
        (b"\xff", 0),
        (b"U c 192.0.2.7 4000", 1),
        (b"L c 192.0.2.7 4000 a b n t", 1),
        (b"D c", 1),
        (b"VF", 1),
        (b"V 1", 1),
        (b"Xa", 2),
        (b"U c 192.0.2.7 4000 a && M3:1 D", 3),
        (b"Dz c a", 8),
        (b"Gz", 9),
        (b"U c 192.0.2.7 4000 a unix:/s T%g1", 10),
        (b"UIEI c 192.0.2.7 4000 a", 11),
        (b"UZ c 192.0.2.7 4000 a", 13),
        (b"UZ1000 c 192.0.2.7 4000 a", 13),
        (b"Uc c 192.0.2.7 4000 a", 14),
        (b"UL{} c 192.0.2.7 4000 a", 15),
        (b"UL1.2.3 c 192.0.2.7 4000 a", 15),
        (b"UR c 192.0.2.7 4000 a", 16),
        (b"Iz", 18),
        (b"Qz c a b", 19),
        (b"Uk c 192.0.2.7 4000 a", 35),
        (b"U c 192.0.2.7 65536 a", 37),
        (b"U c 192.0.2.7 -1 a", 37),
        (b"U c 192.0.2.777 4000 a", 37),
        (b"U c 192.0.2.7 4000 ;1", 5),
        (b"U c 192.0.2.7 4000 a;%d" % (MAX_MEDIA + 1), 5),
        (b"P10 c prompt 0,8 a", 60),
        (b"S c a", 60),
        (b"R c a b", 65),
        (b"N c a b", 65),
        (b"C c /tmp/x a b", 65),
    ],
)
def test_what_cannot_be_read_has_the_error_of_rtpproxy(line: bytes, number: int) -> None:
    request = decode_request(line)
    assert isinstance(request.command, Failure)
    assert request.error == number


def test_names_of_counters_and_features_are_kept() -> None:
    request = decode_request(b"Qv c a b ttl npkts_ina")
    assert (request.names, request.verbose) == (("ttl", "npkts_ina"), True)
    assert decode_request(b"VF 20050322").names == ("20050322",)


@pytest.mark.parametrize(
    ("datagram", "parts"),
    [
        (b"12_3 V", (b"12_3", b"V")),
        (b"x" * MAX_COOKIE_BYTES + b" V\n", (b"x" * MAX_COOKIE_BYTES, b"V\n")),
        (b"x" * (MAX_COOKIE_BYTES + 1) + b" V", None),
        (b" V", None),
        (b"V", None),
        (b"", None),
    ],
)
def test_a_datagram_is_a_cookie_and_a_command(datagram: bytes, parts: object) -> None:
    assert split_cookie(datagram) == parts


GOLDEN = st.sampled_from(
    [
        b"UIEc0,8L{x}Z20 call;b 192.0.2.7 4000 a;1 b;1 unix:/s T%20",
        b"L call ::1 4000 a;1 b;1",
        b"Dw call a b",
        b"Qv call a;1 b;1 ttl npkts_ina",
        b"G nsess_created",
        b"VF 20050322",
    ]
)


@fuzzed
@example(b"\xff" * 150 + b" " + b"\xff" * 149)
@given(st.one_of(st.binary(max_size=300), mutated(GOLDEN)))
def test_whatever_comes_is_a_command_in_range_or_an_error(line: bytes) -> None:
    request = decode_request(line)
    match request.command:
        case Failure():
            assert 0 <= request.error < 100
        case Update() | Lookup() as command:
            assert 0 <= command.port <= 65_535
            assert 0 <= command.medium <= MAX_MEDIA
            assert 0 < len(command.from_tag) <= MAX_ID_BYTES
            assert len(command.options.bridge) <= 2
    words = len("the command '…' for call '…'")
    assert len(str(request.subject)) <= 2 * SHORT_BYTES * len(r"\xff") + words


def test_every_letter_is_known_or_refused() -> None:
    assert set(REQUESTS) | set(UNSUPPORTED) == {*"ULDQXGIVPSRNC", "VF"}

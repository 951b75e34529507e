"""Commands of all protocols on the same call-ids, in any order: a result or a refusal, and nothing leaks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.media import Media, Side
from nh.calls.snapshots.call import Clock, take_snapshot
from nh.calls.snapshots.codec import decode_snapshot, encode_snapshot
from nh.command_table import INFO
from nh.commands import (
    Activate,
    Allocate,
    Answer,
    BlockMedia,
    Close,
    CloseCall,
    Delete,
    DeleteAll,
    DeleteSessions,
    ListCalls,
    Lookup,
    OfferOptions,
    Query,
    QuerySession,
    RelayCommand,
    SessionOptions,
    ShowCall,
    TransactionKey,
    Update,
)
from nh.errors import PortsExhausted, ProtocolError, Refused, UnknownCall
from nh.results import Failure, RelayResult
from nh.shard.relay import Relay
from nh.wire.rtpproxy import decode_request, encode_reply
from tests.shard.test_signalling_fuzz import CALL_IDS, COMMANDS, SECURE, TAGS, fuzzed, state, with_relay
from tests.shard.testbed import V4

NAMED_TAGS = st.sampled_from([b"alice", b"bob", b"carol"])
MEDIA_NUMBERS = st.sampled_from([0, 1, 1, 1, 2, 5])
PORTS = st.sampled_from([0, 4000, 4000, 4002, 65_535])
ADDRESSES = st.sampled_from([V4, "0.0.0.0", "::", "2001:db8::5", "pbx.example.org"])
MODIFIERS = st.builds(
    SessionOptions,
    asymmetric=st.booleans(),
    family=st.sampled_from([4, 4, 6]),
    bridge=st.sampled_from([(), (), (0,), (1,), (0, 1), (1, 0), (1, 1)]),
    local=st.sampled_from(["", "", "near", "far", "nowhere", V4, "192.0.2.99"]),
    remote=st.sampled_from(["", "", V4, "192.0.2.99"]),
    new_port=st.booleans(),
    weak=st.booleans(),
)
RTPPROXY: st.SearchStrategy[RelayCommand] = st.one_of(
    st.builds(Update, CALL_IDS, NAMED_TAGS, TAGS, MEDIA_NUMBERS, ADDRESSES, PORTS, MODIFIERS),
    st.builds(Lookup, CALL_IDS, NAMED_TAGS, TAGS, MEDIA_NUMBERS, ADDRESSES, PORTS, MODIFIERS),
    st.builds(DeleteSessions, CALL_IDS, TAGS, TAGS, st.booleans()),
    st.builds(QuerySession, CALL_IDS, TAGS, TAGS, MEDIA_NUMBERS),
    st.builds(DeleteAll),
)

KEYS = st.builds(TransactionKey, CALL_IDS, st.sampled_from([1, 1, 2]), TAGS, TAGS)
NETSIP: st.SearchStrategy[RelayCommand] = st.one_of(
    st.builds(
        Allocate,
        KEYS,
        st.sampled_from(Side),
        st.sampled_from([V4, V4, "127.0.0.2", "192.0.2.99"]),
        st.lists(
            st.builds(Media, st.sampled_from([V4, "0.0.0.0"]), PORTS, st.integers(1, 3)), max_size=3
        ).map(tuple),
    ),
    st.builds(Activate, KEYS),
    st.builds(Close, KEYS),
)
ANY: st.SearchStrategy[RelayCommand] = st.one_of(
    RTPPROXY,
    RTPPROXY,
    NETSIP,
    COMMANDS,
    st.builds(CloseCall, CALL_IDS),
    st.builds(ShowCall, CALL_IDS),
    st.just(ListCalls(silent=True)),
)


def execute(relay: Relay, command: RelayCommand) -> RelayResult | None:
    """The result of a command; None if it was refused, which changes nothing."""
    before = state(relay)
    try:
        result = relay.execute(command)
    except PortsExhausted:  # a branch of ng's without an answer ends
        return None
    except (Refused, ProtocolError):
        assert state(relay) == before, "a refusal changes nothing"
        return None
    assert isinstance(result, INFO[type(command)].result)
    return result


def check_calls(relay: Relay) -> None:
    """Each call is whole, and another process could go on with it."""
    for call in relay.table:
        snapshot = take_snapshot(call, clock=Clock(1.0, 1.0))
        snapshot.check()
        assert decode_snapshot(encode_snapshot(snapshot)) == snapshot


KEY = TransactionKey(b"one", 1, b"alice", b"bob")


@pytest.mark.parametrize(
    "command",
    [
        Answer(b"one", b"alice", b"bob", b"", SECURE, OfferOptions()),
        Delete(b"one", b"", b"", b"", 0),
        Query(b"one", b""),
        BlockMedia(b"one", b"", True),
        Lookup(b"one", b"alice", b"bob", 1, V4, 4000, SessionOptions()),
        DeleteSessions(b"one", b"alice", b"bob"),
        QuerySession(b"one", b"alice", b"bob", 1),
    ],
)
def test_a_call_of_net_sips_has_no_offers(ports: range, command: RelayCommand) -> None:
    def use(relay: Relay) -> None:
        relay.execute(Allocate(KEY, Side.FROM, V4, (Media(V4, 4000, 2),)))
        before = state(relay)
        with pytest.raises(UnknownCall):
            relay.execute(command)
        assert state(relay) == before

    with_relay(ports, use)


@fuzzed
@given(commands=st.lists(RTPPROXY, max_size=15))
def test_any_order_of_rtpproxys_commands(ports: range, commands: list[RelayCommand]) -> None:
    def use(relay: Relay) -> None:
        for command in commands:
            execute(relay, command)
            check_calls(relay)

    with_relay(ports, use)


@fuzzed
@given(commands=st.lists(ANY, max_size=15))
def test_any_order_of_all_protocols_commands(ports: range, commands: list[RelayCommand]) -> None:
    def use(relay: Relay) -> None:
        for command in commands:
            execute(relay, command)
            check_calls(relay)
        relay.plane.watch(since_s=1.0, now=1.0)
        relay.plane.close_windows(now=1.0)

    with_relay(ports, use)


@fuzzed
@given(
    lines=st.lists(
        st.builds(
            "{}{} {} {} {} {} {} {}".format,
            st.sampled_from("ULDQXGIVPz"),
            st.text("ac0s6wnizre{near}l127.", max_size=6),
            st.sampled_from(["one", "two"]),
            st.sampled_from([V4, "0", "::1", "alice", "x" * 300]),
            st.sampled_from(["0", "4000", "70000", "alice;1", "bob", "٣"]),
            st.sampled_from(["alice", "alice;1", "bob;1", "alice;99", ""]),
            st.sampled_from(["", "alice;1", "bob;1", "unix:/x"]),
            st.sampled_from(["", "tag", "%zz", "%41"]),
        ),
        max_size=10,
    )
)
def test_any_lines_of_rtpproxys(ports: range, lines: list[str]) -> None:
    def use(relay: Relay) -> None:
        for line in lines:
            request = decode_request(line.encode())
            command = request.command
            if isinstance(command, Failure):
                reply = encode_reply(request, command)
            elif not INFO[type(command)].counters:  # the supervisor's
                continue
            else:
                result = execute(relay, command)  # type: ignore[arg-type]
                reply = encode_reply(request, result or Failure("not_found", "there is no such call"))
            assert reply.endswith(b"\n")
            assert len(reply) <= 255
            check_calls(relay)

    with_relay(ports, use)

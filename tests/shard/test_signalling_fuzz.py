"""Any bytes as SDP, any order of commands: a result or a refusal, and nothing leaks."""

import contextlib
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nh.calls.interfaces import Interface
from nh.calls.settings import RelayConfig, RelaySettings
from nh.calls.snapshots.call import CallSnapshot, Clock, take_snapshot
from nh.calls.snapshots.codec import decode_snapshot, encode_snapshot
from nh.commands import (
    EVERY_CODEC,
    PLAIN_TEXT,
    Answer,
    AttributeEdit,
    BlockMedia,
    BundleOptions,
    CloseCall,
    Delete,
    EndpointLearning,
    IceHandling,
    NgCommand,
    Offer,
    OfferOptions,
    Query,
    RtcpAttribute,
    SdesOptions,
    SdpText,
)
from nh.errors import PortsExhausted, Refused
from nh.results import Blocked, Queried, Rewritten
from nh.sdp.parse import parse
from nh.shard.relay import Relay
from nh.wire.ng.dictionary import Encoding, decode
from nh.wire.ng.replies import encode_reply
from nh.wire.ng.requests import NgRequest, decode_request
from tests.profiles import examples
from tests.sdp import generator, samples
from tests.shard.ng_testbed import snapshots_of
from tests.shard.testbed import V4
from tests.webrtc.bundle_phone import write_media
from tests.wire.ng import written
from tests.wire.test_ng_odd_values import NAMES, ODD

INTERFACES = (Interface("near", V4, V4), Interface("far", "127.0.0.2", "192.0.2.2"))
RESULTS = {Offer: Rewritten, Answer: Rewritten, Delete: Queried, Query: Queried, BlockMedia: Blocked}

fuzzed = settings(
    deadline=None, max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """An SDP of a real peer with some bytes changed, doubled or missing."""
    sdp = bytearray(draw(st.sampled_from(sorted(samples.ALL.values()))))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(sdp)))
        end = min(len(sdp), start + draw(st.integers(0, 20)))
        sdp[start:end] = draw(st.sampled_from([b"", bytes(sdp[start:end]) * 2]) | st.binary(max_size=8))
    return bytes(sdp)


SECURE = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.5\r\ns=-\r\nc=IN IP4 192.0.2.5\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 0\r\n"
    b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:4\r\n"
    b"a=crypto:2 AEAD_AES_256_GCM inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKis\r\n"
)
"""An end that offers SRTP, or takes the first line of an offer, or the second."""

OPTIONAL = SECURE.replace(b"RTP/SAVP", b"RTP/AVP")
"""The same where the other end may have plain RTP (RFC 8643)."""

BUNDLED = [
    write_media(
        [4000, ports], [["rtcp-mux", f"mid:{mid}"] for mid in mids], group=group, formats=formats
    ).encode()
    for ports, mids, group, formats in (
        (4000, "av", "BUNDLE a v", (0, 96)),
        (4000, "av", "BUNDLE v a", (0, 96)),
        (0, "av", "BUNDLE a", (0, 96)),
        (4000, "av", "BUNDLE a v", (96, 96)),
        (4000, "aa", "BUNDLE a v", (0, 96)),
    )
]
"""Ends that have a bundle, of both media or of one, and what is no bundle."""

SDPS = st.one_of(
    st.sampled_from([SECURE, OPTIONAL, *BUNDLED, *sorted(samples.ALL.values())]),
    spoiled(),
    generator.bodies(),
    st.binary(max_size=200),
)
TAGS = st.sampled_from([b"", b"alice", b"bob", b"carol", b"\xff\x00"])
CALL_IDS = st.sampled_from([b"one", b"two"])
BRANCHES = st.sampled_from([b"", b"x", b"y"])
LONG = b"x:" + b"\x01" * 20_000
EDITED = st.sampled_from([b"", b"sendrecv", b"rtcp", b"mid:1", b"ptime:20", LONG])
TEXT = st.builds(
    SdpText,
    zero_address=st.booleans(),
    original_direction=st.booleans(),
    version=st.booleans(),
    force_version=st.booleans(),
    username=st.booleans(),
    session_name=st.booleans(),
    whole_origin=st.booleans(),
    generate_mid=st.booleans(),
    rtcp_attribute=st.sampled_from(RtcpAttribute),
    extensions=st.sampled_from([(), ("all",), ("urn:ietf:params:rtp-hdrext:sdes:mid",)]),
    removed_media=st.sampled_from([(), ("video",), ("audio", "other")]),
    attributes=st.lists(
        st.builds(AttributeEdit, st.sampled_from(["", "audio"]), EDITED, EDITED), max_size=3
    ).map(lambda edits: tuple(edit for edit in edits if edit.match or edit.text)),
)
OPTIONS = st.builds(
    OfferOptions,
    received_from=st.sampled_from(["", "192.0.2.66", "2001:db8::66"]),
    trust_received=st.booleans(),
    media_address=st.sampled_from(["", "203.0.113.1"]),
    replace_origin=st.booleans(),
    ice=st.sampled_from(IceHandling),
    direction=st.sampled_from([(), (), ("near", "far"), ("far",), ("nowhere",)]),
    family=st.sampled_from([0, 0, 4, 6]),
    learning=st.sampled_from([None, *EndpointLearning]),
    asymmetric=st.booleans(),
    strict_source=st.booleans(),
    media_handover=st.booleans(),
    port_latching=st.sampled_from([None, True, False]),
    mux_offer=st.booleans(),
    mux_require=st.booleans(),
    mux_demux=st.booleans(),
    mux_accept=st.booleans(),
    mux_reject=st.booleans(),
    transport_protocol=st.sampled_from(["", "", "accept", "RTP/SAVPF", "RTP/AVP", "RTP/AVPF", "rtp/savp"]),
    sdes=st.builds(
        SdesOptions,
        off=st.booleans(),
        only=st.sampled_from([(), ("AES_CM_128_HMAC_SHA1_80",)]),
        order=st.sampled_from([(), ("AEAD_AES_256_GCM",)]),
        pad=st.booleans(),
        excluded=st.sampled_from([(), ("AES_CM_128_HMAC_SHA1_80",)]),
        no_new=st.booleans(),
        lifetime=st.booleans(),
        prefer=st.booleans(),
        offerer_order=st.sampled_from([(), ("AEAD_AES_256_GCM",)]),
    ),
    bundle=st.builds(
        BundleOptions,
        accept=st.booleans(),
        offer=st.booleans(),
        require=st.booleans(),
        strict=st.booleans(),
        reject=st.booleans(),
    ),
    dscp=st.sampled_from([None, 0, 46]),
    loop_protect=st.booleans(),
    label=st.sampled_from(["", "label"]),
    text=st.just(PLAIN_TEXT) | TEXT,
    escaped=st.booleans(),
    osrtp_offer=st.booleans(),
    osrtp_accept=st.booleans(),
    osrtp_accept_twice=st.booleans(),
    osrtp_offer_twice=st.booleans(),
    codecs=st.just(EVERY_CODEC) | generator.codec_choices,
    recrypt=st.booleans(),
    block_dtmf=st.booleans(),
)
COMMANDS: st.SearchStrategy[NgCommand] = st.one_of(
    st.builds(Offer, CALL_IDS, TAGS, TAGS, BRANCHES, SDPS, OPTIONS),
    st.builds(Answer, CALL_IDS, TAGS, TAGS, BRANCHES, SDPS, OPTIONS),
    st.builds(Delete, CALL_IDS, TAGS, TAGS, BRANCHES, st.sampled_from([0, 0, 5])),
    st.builds(Query, CALL_IDS, TAGS),
    st.builds(BlockMedia, CALL_IDS, TAGS, st.booleans()),
)


def state(relay: Relay) -> tuple[list[CallSnapshot], int, int]:
    """See snapshots_of; and its sockets and free ports."""
    relay.update_stats()
    return snapshots_of(relay), relay.stats.sockets, relay.stats.ports_free


def end_everything(relay: Relay) -> None:
    """All calls go, and nothing may be left of them."""
    for call in list(relay.table):
        relay.execute(CloseCall(call.call_id))
    relay.update_stats()
    stats = relay.stats
    assert (stats.calls, stats.sessions, stats.sockets) == (0, 0, 0)
    assert stats.ports_free == stats.ports_total
    assert stats.sessions_started == stats.sessions_ended


def with_relay(ports: range, use: Callable[[Relay], None]) -> None:
    relay = Relay(
        RelayConfig(RelaySettings(max_sockets=100), ports=(ports[0], ports[-1]), interfaces=INTERFACES)
    )
    try:
        use(relay)
        end_everything(relay)
    finally:
        relay.close()


@fuzzed
@given(commands=st.lists(COMMANDS, max_size=12))
def test_any_order_of_commands_has_results_or_refusals(ports: range, commands: list[NgCommand]) -> None:
    def use(relay: Relay) -> None:
        now = 0.0
        for command in commands:
            before = state(relay)
            try:
                result = relay.execute(command)
            except PortsExhausted:
                continue  # a branch without an answer ends
            except Refused:
                assert state(relay) == before, "a refusal changes nothing"
                continue
            assert isinstance(result, RESULTS[type(command)])
            if isinstance(result, Rewritten) and result.sdp:  # an empty body stays empty
                parse(result.sdp)
                for call in relay.table:
                    snapshot = take_snapshot(call, clock=Clock(1.0, 1.0))
                    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot
                    snapshot.check()
                assert isinstance(command, Offer | Answer)
                encoding = Encoding.JSON if command.options.escaped else Encoding.BENCODE
                reply = decode(encode_reply(NgRequest(command, encoding), result, 65_200))
                assert reply.find(b"result") == b"ok", "the reply has room for what has been changed"
            now += 1
        relay.plane.watch(since_s=1.0, now=now)
        relay.plane.close_windows(now=now)

    with_relay(ports, use)


@fuzzed
@given(
    sdp=st.sampled_from(sorted(samples.ALL.values())),
    odd=st.lists(st.dictionaries(st.sampled_from(NAMES), ODD, max_size=4), min_size=2, max_size=2),
)
def test_any_values_of_keys_have_results_or_refusals(
    ports: range, sdp: bytes, odd: list[dict[bytes, object]]
) -> None:
    needed = {b"sdp": sdp, b"call-id": b"call", b"from-tag": b"a", b"to-tag": b"b"}

    def use(relay: Relay) -> None:
        for name, fields in zip((b"offer", b"answer"), odd, strict=True):
            command = decode_request(written({**needed, b"command": name, **fields})).command
            if isinstance(command, Offer | Answer):
                with contextlib.suppress(Refused):
                    relay.execute(command)

    with_relay(ports, use)


@fuzzed
@given(offer=SDPS, answer=SDPS, again=SDPS, options=OPTIONS)
def test_any_bytes_may_stand_for_an_sdp(
    ports: range, offer: bytes, answer: bytes, again: bytes, options: OfferOptions
) -> None:
    def use(relay: Relay) -> None:
        for command in (
            Offer(b"call", b"alice", b"", b"", offer, options),
            Answer(b"call", b"alice", b"bob", b"", answer, options),
            Offer(b"call", b"bob", b"alice", b"", again, options),
            Answer(b"call", b"bob", b"alice", b"", offer, options),
        ):
            try:
                result = relay.execute(command)
            except Refused:
                continue
            assert isinstance(result, Rewritten)
            assert not result.sdp or parse(result.sdp).media is not None

    with_relay(ports, use)

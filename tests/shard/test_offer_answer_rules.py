"""What holds of all that a relay forwards between ends that keep the rules of offer and answer themselves.

An answer has the media of its offer (RFC 3264), m= and c= name a candidate (RFC 8839 4.2.5), and a bundle
names media that there are, and that were offered in one (RFC 9143). No end learns an address of the other,
unless ICE is to tell it.
"""

import contextlib
from collections.abc import Iterator, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from nh.calls.interfaces import Interface
from nh.calls.settings import RelayConfig, RelaySettings
from nh.commands import (
    DEFAULT_BUNDLE,
    EVERY_CODEC,
    Answer,
    BundleOptions,
    CodecChoice,
    IceHandling,
    Offer,
    OfferOptions,
    SdpText,
)
from nh.errors import Unsupported
from nh.results import Rewritten
from nh.sdp.description import Medium, SessionDescription
from nh.sdp.parse import parse
from nh.shard.relay import Relay
from tests.profiles import examples
from tests.shard.offering_ends import (
    CODECS,
    End,
    EndMedium,
    after_answer,
    answered_media,
    booleans,
    ends,
    later_media,
    mostly,
    offered_media,
    rejected,
)
from tests.shard.testbed import V4

RELAY = "203.0.113.9"
CALL = b"call"
AROUND = (IceHandling.OPTIONAL, IceHandling.FORCE_RELAY)
ACCEPT = BundleOptions(accept=True)
REJECT = BundleOptions(reject=True)
OFFER = BundleOptions(offer=True)
REQUIRE = BundleOptions(offer=True, require=True)
STRICT = BundleOptions(offer=True, require=True, strict=True)
BOTH = BundleOptions(accept=True, offer=True, require=True, strict=True)
NO_AUDIO = CodecChoice(strip=("opus",), reject_empty=True)

options = st.builds(
    OfferOptions,
    replace_origin=st.just(True),
    ice=st.sampled_from(IceHandling),
    mux_offer=booleans,
    mux_require=booleans,
    mux_demux=booleans,
    mux_accept=booleans,
    mux_reject=booleans,
    transport_protocol=st.sampled_from(["", "", "", "RTP/AVP", "RTP/SAVP", "UDP/TLS/RTP/SAVPF"]),
    bundle=st.sampled_from([DEFAULT_BUNDLE, DEFAULT_BUNDLE, ACCEPT, OFFER, REQUIRE, STRICT, BOTH, REJECT]),
    codecs=st.sampled_from([EVERY_CODEC, EVERY_CODEC, EVERY_CODEC, NO_AUDIO]),
    text=st.sampled_from([SdpText(), SdpText(), SdpText(), SdpText(removed_media=("video",))]),
)

PASSIVE = OfferOptions(replace_origin=True)
"""A client that wants nothing but a relay."""


class Talk:
    """A call through a relay, whose ends have their SDPs forwarded.

    Args:
        relay: the relay.
    """

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def forward(self, command: Offer | Answer, end: End) -> bytes:
        """What the other end gets of an SDP of this one; it keeps the rules."""
        result = self._relay.execute(command)
        assert isinstance(result, Rewritten)
        told = end.ice and command.options.ice in AROUND
        if not told:
            addresses = {word for line in result.sdp.decode().splitlines() for word in line.split()}
            assert addresses.isdisjoint({end.address, end.turn}), "no address of the sender"
        forwarded = parse(result.sdp)
        staying = {medium.port for medium in forwarded.media if told and medium.ice}
        for medium in forwarded.media:
            if medium.port:
                self._check_place(medium, told=told and medium.port in staying)
        check_bundles(forwarded)
        return result.sdp

    def _check_place(self, medium: Medium, *, told: bool) -> None:
        place = (medium.connection, medium.port)
        if not told:
            assert place in set(self._sockets), "a socket of the relay"
        candidates = [value.decode().split() for _, value in medium.attributes.get("candidate", ())]
        if candidates:
            assert place in [(each[4], int(each[5])) for each in candidates if each[1] == "1"]

    @property
    def _sockets(self) -> Iterator[tuple[str, int]]:
        for call in self._relay.table:
            for group in call.get_offers(now=0.0).groups:
                for socket in group.sockets:
                    yield RELAY, socket.port


def named(description: SessionDescription, mids: Sequence[str]) -> list[Medium]:
    """The media that a bundle names."""
    by_mid = {medium.find_value("mid"): medium for medium in description.media}
    return [by_mid[mid] for mid in mids]


def check_bundles(description: SessionDescription) -> None:
    """What holds of the bundles of an SDP."""
    for mids in description.bundles:
        tagged, *others = members = named(description, mids)
        assert not any(medium.rejected for medium in members), "media that there are"
        assert tagged.port, "the tagged medium has the transport"
        for medium in others:
            assert medium.ice <= tagged.ice
            assert medium.has("fingerprint") <= tagged.has("fingerprint")
        if any("SAVP" in medium.proto for medium in members):
            assert tagged.has("fingerprint") or tagged.has("crypto")
    bundled = {mid for mids in description.bundles for mid in mids}
    for medium in description.media:
        assert not medium.has("bundle-only") or medium.find_value("mid") in bundled


def check_answer(offer: bytes, answer: bytes, option: OfferOptions) -> None:
    """What holds of an answer and its offer.

    Args:
        option: of the offer.
    """
    offered, answered = parse(offer), parse(answer)
    assert [medium.kind for medium in answered.media] == [medium.kind for medium in offered.media]
    for mids in answered.bundles:
        assert any(set(mids) <= set(each) for each in offered.bundles), "a bundle that was offered"
        assert len({medium.port for medium in named(answered, mids)}) == 1
    bundled = {mid for mids in answered.bundles for mid in mids}
    ports = [medium.port for medium in offered.media]
    # where a medium is left out, the next of its bundle has its transport
    leaves_out = option.codecs is not EVERY_CODEC or bool(option.text.removed_media)
    for was, now in zip(offered.media, answered.media, strict=True):
        assert now.proto.removesuffix("F") == was.proto.removesuffix("F")
        assert now.find_value("mid") == was.find_value("mid") or not was.has("mid")
        if was.rejected:
            assert now.port == 0, "what is not offered is not there"
        elif now.port and now.find_value("mid") not in bundled and not leaves_out:
            assert was.port, "what is bundle-only is bundled"
            assert now.rtcp_mux <= was.rtcp_mux
            if ports.count(was.port) == 1:  # else others of its bundle have its transport
                assert now.ice <= was.ice
                assert now.has("fingerprint") <= was.has("fingerprint")


def check_later_offer(
    offer: bytes, forwarded: bytes, ends: Sequence[list[EndMedium]], option: OfferOptions
) -> None:
    """What holds of a later offer and what its receiver gets, if its client wants nothing else.

    Args:
        ends: the media of its sender and its receiver so far.
    """
    if option is not PASSIVE:
        return
    own, shown = parse(offer), parse(forwarded)
    sender, receiver = ends
    both = zip(sender, receiver, strict=False) if len(sender) == len(receiver) else ()
    protos = {
        each.proto for own_medium, each in both if own_medium.port and each.port and each.kind in CODECS
    }
    if len(protos) == 1:
        there = {medium.proto for medium in shown.media if medium.port and medium.rtp}
        assert there <= protos, "the transport that it has"
    for mids in shown.bundles if shown.bundles == own.bundles else ():
        agreed = {each.mid for each in receiver if each.bundled} & {
            each.mid for each in sender if each.bundled
        }
        if agreed.issuperset(mids) and len({medium.port for medium in named(own, mids)}) == 1:
            assert len({medium.port for medium in named(shown, mids)}) == 1, "the port of their bundle"


def ports_of(sdp: bytes) -> list[int]:
    return [medium.port for medium in parse(sdp).media]


class Dialog:
    """Two ends, and what each of them says of its media.

    Args:
        relay: the relay between them.
        data: what they do.
        alice, bob: the ends.
    """

    def __init__(self, relay: Relay, data: st.DataObject, alice: End, bob: End) -> None:
        self._talk = Talk(relay)
        self._data = data
        self._ends = {b"alice": alice, b"bob": bob}
        self._media: dict[bytes, list[EndMedium]] = {}

    def begin(self, media: list[EndMedium], option: OfferOptions) -> bool:
        """The first offer, which comes twice, and its answer; False if the other end sees no media."""
        offer = self._ends[b"alice"].write(media)
        to_bob = self._offer(b"alice", b"", offer, option)
        assert ports_of(self._offer(b"alice", b"", offer, option)) == ports_of(to_bob)
        if not parse(to_bob).media:  # sdp-media-remove has left none
            return False
        self._media[b"alice"] = media
        self._answer(b"bob", offer, to_bob, option, self._data.draw(options))
        return True

    def go_on(self) -> None:
        """A later offer of one of them, which the other may refuse, or answer."""
        tag = self._data.draw(st.sampled_from(sorted(self._media)))
        option = self._data.draw(st.sampled_from([PASSIVE, PASSIVE, PASSIVE]) | options)
        media = self._data.draw(later_media(self._media[tag]))
        (to,) = self._ends.keys() - {tag}
        offer = self._ends[tag].write(media)
        forwarded = self._offer(tag, to, offer, option)
        assert ports_of(self._offer(tag, to, offer, option)) == ports_of(forwarded)
        check_later_offer(offer, forwarded, (self._media[tag], self._media[to]), option)
        answers = self._data.draw(mostly)
        if answers and parse(forwarded).media:
            self._media[tag] = media
            self._answer(to, offer, forwarded, option, PASSIVE)

    def _offer(self, tag: bytes, to: bytes, offer: bytes, option: OfferOptions) -> bytes:
        return self._talk.forward(Offer(CALL, tag, to, b"", offer, option), self._ends[tag])

    def _answer(
        self, tag: bytes, offer: bytes, forwarded: bytes, of_offer: OfferOptions, option: OfferOptions
    ) -> None:
        """An end answers what it got of the offer of the other one."""
        (to,) = self._ends.keys() - {tag}
        offered = parse(forwarded)
        media = self._data.draw(answered_media(offered))
        end = replace(self._ends[tag], setup="active")
        answer = self._talk.forward(Answer(CALL, to, tag, b"", end.write(media), option), end)
        check_answer(offer, answer, of_offer)
        lacking = [rejected(each) for each in offered.media[len(media) :]]
        self._media[tag] = [*media, *lacking]
        self._media[to] = after_answer(self._media[to], parse(answer))


@settings(deadline=None, max_examples=examples(160))
@given(data=st.data(), media=offered_media(), alice=ends(1), bob=ends(2), option=options)
def test_what_a_relay_forwards_keeps_the_rules(
    ports: range, data: st.DataObject, media: list[EndMedium], option: OfferOptions, **ends: End
) -> None:
    interface = Interface("default", V4, RELAY)
    relay = Relay(RelayConfig(RelaySettings(), ports=(ports[0], ports[-1]), interfaces=(interface,)))
    try:
        # an SDP that nh cannot convert, as the client wants it, is refused
        with contextlib.suppress(Unsupported):
            dialog = Dialog(relay, data, **ends)
            if dialog.begin(media, option):
                for _ in range(data.draw(st.integers(0, 4))):
                    dialog.go_on()
    finally:
        relay.close()

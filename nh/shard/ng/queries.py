"""Queries: a call as the reply to ng's `query` and `delete`: parties, their media, the streams at each port.

Pure functions; they change no call.
"""

from collections.abc import Iterator, Sequence

import msgspec

from nh.calls.drop import Drop
from nh.calls.latching.source import SourcePolicy
from nh.calls.leg import Leg
from nh.calls.media import Media
from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.offers import Offers
from nh.calls.offer_answer.party import Party, ReceivedTotals
from nh.calls.protocols.dtls_security import DtlsSecurity
from nh.results import (
    MediumReading,
    Queried,
    StreamDetail,
    StreamQuality,
    StreamReading,
    StreamTotals,
    TagReading,
)
from nh.shard.views.stream_details import MeterReader


def query_call(
    offers: Offers, *, created: float, from_tag: bytes, wall_offset_s: float, detailed: bool
) -> Queried:
    """The state and the statistics of a call.

    Args:
        offers: the parties and dialogs of the call.
        created: monotonic seconds of its start.
        from_tag: only this party and the parties in a dialog with it (rtpengine's rule); b"": all.
        wall_offset_s: monotonic seconds plus this are wall-clock seconds.
        detailed: also say what the SDPs have agreed on, which costs a third more and is no statistic.
    """
    reader = MeterReader(wall_offset_s=wall_offset_s)
    asked = dict.fromkeys([party.tag for party in offers.parties])
    if from_tag:
        linked = {from_tag}.union(*[each.tags for each in offers.dialogs if from_tag in each.tags])
        asked = {tag: None for tag in asked if tag in linked}
    tags = tuple(
        [_tag(offers.participants.with_tag(tag), offers.dialogs, reader, detailed=detailed) for tag in asked]
    )
    counted = [
        stream
        for tag in tags
        for medium in tag.media
        for stream in medium.streams
        if stream.packets or stream.errors
    ]
    return Queried(
        created=int(created + wall_offset_s),
        created_us=int((created + wall_offset_s) % 1 * 1e6),
        last_signal=int(offers.last_signal + wall_offset_s),
        tags=tags,
        rtp=_total([each for each in counted if each.component == 1]),
        rtcp=_total([each for each in counted if each.component != 1]),
    )


def _total(streams: Sequence[StreamReading]) -> StreamTotals:
    packets = size = errors = 0
    for stream in streams:
        packets += stream.packets
        size += stream.bytes
        errors += stream.errors
    return StreamTotals(packets, size, errors)


def _tag(
    parties: Sequence[Party], dialogs: Sequence[Dialog], reader: MeterReader, *, detailed: bool
) -> TagReading:
    """One end: its parties on all branches."""
    ours = [(party, dialog) for party in parties for dialog in dialogs if dialog.has(party)]
    indexes: set[int] = set()
    label = ""
    for party in parties:
        label = label or party.label
        indexes.update([index for index, group in enumerate(party.groups) if group is not None])
        if party.ended_totals:
            indexes.update([index for index, _ in party.ended_totals])
    reading = TagReading(
        tag=parties[0].tag,
        label=label,
        created=int(parties[0].created + reader.wall_offset_s),
        in_dialogue_with=_other_tag(*ours[0]) if ours else b"",
        media=tuple([_medium(parties, ours, index, reader) for index in sorted(indexes)]),
    )
    return _with_agreements(reading, parties, ours, reader) if detailed else reading


def _with_agreements(
    reading: TagReading,
    parties: Sequence[Party],
    ours: Sequence[tuple[Party, Dialog]],
    reader: MeterReader,
) -> TagReading:
    """A reading of an end, with what the SDPs have agreed on.

    Args:
        reading: without that.
        parties: of the end.
        ours: these, with each of their dialogs.
        reader: of the streams.
    """
    replace = msgspec.structs.replace
    media = []
    for medium in reading.media:
        index = medium.index - 1
        legs = [leg for _, leg in _legs(ours, index)]
        streams = [
            replace(each, local_address=leg.socket.local.address, suite=_suite(leg), flags=_reception(leg))
            for each, leg in zip(medium.streams, legs, strict=False)
        ]
        streams += medium.streams[len(streams) :]  # of ended sessions
        codec = next(filter(None, [_codec(leg, reader) for leg in legs]), "")
        media.append(replace(medium, streams=tuple(streams), flags=_flags(parties, index), codec=codec))
    return replace(
        reading,
        media=tuple(media),
        dialogs_with=tuple(dict.fromkeys([_other_tag(*each) for each in ours])),
        branch=next((dialog.branch for party, dialog in ours if dialog.callee is party), b""),
    )


def _legs(dialogs: Sequence[tuple[Party, Dialog]], index: int) -> Iterator[tuple[int, Leg]]:
    """The components, from 1, of medium `index` of an end, and the legs that receive them."""
    for party, dialog in dialogs:
        for medium, session in dialog.running:
            if medium == index:
                yield from enumerate(session.legs[dialog.side_of(party) :: 2], start=1)


def _other_tag(party: Party, dialog: Dialog) -> bytes:
    return dialog.other(party).tag


def _medium(
    parties: Sequence[Party], dialogs: Sequence[tuple[Party, Dialog]], index: int, reader: MeterReader
) -> MediumReading:
    """A medium with the streams that this end sends, and one with the totals of its ended sessions."""
    media = _announced(parties, index)
    kind = media.kind if media is not None else ""
    streams = [_stream(leg, component, kind, reader) for component, leg in _legs(dialogs, index)]
    for party in parties:
        if party.ended_totals:
            streams += [
                _ended_stream(totals, component + 1)
                for (medium, component), totals in sorted(party.ended_totals.items())
                if medium == index and any(totals)
            ]
    return MediumReading(
        index=index + 1,
        kind=kind,
        proto=media.proto if media is not None else "",
        streams=tuple(streams),
    )


def _announced(parties: Sequence[Party], index: int) -> Media | None:
    """What an end has announced of medium `index`, None if it is not relayed."""
    for party in parties:
        group = party.find_group(index)
        if group is not None:
            return group.medium
    return None


def _flags(parties: Sequence[Party], index: int) -> tuple[str, ...]:
    """What an end and the relay have agreed on for a medium, in rtpengine's words and order."""
    party = next((each for each in parties if each.find_group(index) is not None), None)
    group = None if party is None else party.find_group(index)
    if party is None or group is None:
        return ()
    media, security, ice = group.medium, group.security, group.ice
    dtls = security if isinstance(security, DtlsSecurity) else None
    found = {
        "asymmetric": party.policy is SourcePolicy.ASYMMETRIC,
        "send": not media.paused,
        "recv": not media.mute,
        "rtcp-mux": index < len(party.agreed.muxes) and party.agreed.muxes[index],
        "DTLS-SRTP": dtls is not None,
        "DTLS role active": dtls is not None and dtls.parameters.active,
        "DTLS role passive": dtls is not None and not dtls.parameters.active,
        "SDES": security is not None and dtls is None,
        "ICE": ice is not None,
        "trickle ICE": ice is not None and "trickle" in ice.options,
        "ICE-lite peer": ice is not None and ice.remote_lite,
    }
    return tuple([name for name, agreed in found.items() if agreed])


def _ended_stream(totals: ReceivedTotals, component: int) -> StreamReading:
    """The packets of ended sessions; their port is closed."""
    return StreamReading(
        local_port=0,
        component=component,
        announced=None,
        source=None,
        packets=totals.packets,
        bytes=totals.bytes,
        errors=totals.dropped,
        last_packet=0,
    )


def _stream(leg: Leg, component: int, kind: str, reader: MeterReader) -> StreamReading:
    port, announced, source = leg.socket.port, leg.announced, leg.transport.source
    if leg.untouched and leg.other.untouched:  # as of a call whose media have not begun
        return StreamReading(
            port,
            component,
            None if announced is None else str(announced),
            None if source is None else str(source),
            0,
            0,
            0,
            0,
        )
    heard = _heard(leg, kind, reader)
    course: tuple[StreamQuality, ...] = ()
    if heard is not None and heard.average is not None:
        course = reader.describe_course(leg.other, heard.ssrc)
    drops, offender = leg.drops, leg.offender  # rare, so slow to read
    return StreamReading(
        local_port=port,
        component=component,
        announced=str(announced) if announced else None,
        source=str(source) if source else None,
        packets=leg.packets,
        bytes=leg.bytes,
        errors=sum(drops or ()),
        last_packet=0 if leg.last_seen is None else int(leg.last_seen + reader.wall_offset_s),
        refused=drops[Drop.SOURCE_MISMATCH] if drops else 0,
        refused_from=str(offender) if offender else None,
        rtp=reader.describe(leg, kind),
        ssrc=_latest_ssrc(leg, reader),
        heard=heard,
        heard_course=course,
    )


def _suite(leg: Leg) -> str:
    """Of what the end of a leg sends to the relay; "" if the relay has no key for that."""
    receiver = leg.security.receiver if leg.security is not None else None
    return receiver.master.suite.name if receiver is not None else ""


def _reception(leg: Leg) -> tuple[str, ...]:
    """How the relay receives from the end of a leg, in rtpengine's words and order."""
    security = leg.security
    found = {
        "kernelized": leg.offload is not None,
        "DTLS fingerprint verified": security is not None
        and security.dtls is not None
        and security.receiver is not None,
        "strict source address": leg.terms.policy in (SourcePolicy.LEARNED, SourcePolicy.STRICT),
        "media handover": leg.terms.policy is SourcePolicy.HANDOVER,
    }
    return tuple([name for name, applies in found.items() if applies])


def _codec(leg: Leg, reader: MeterReader) -> str:
    """The codec that the end of a leg sends now, as in a=rtpmap; "" if that is not known.

    Events and comfort noise are none. Opus has two channels always (RFC 7587 7), the others of phones one.
    """
    latest, known = reader.latest(leg), leg.payload_types
    if latest is None or known is None or latest.payload_type not in known.clocks:
        return ""
    encoding, clock_hz = known.encodings[latest.payload_type], known.clocks[latest.payload_type]
    return f"{encoding}/{clock_hz}/2" if encoding.lower() == "opus" else f"{encoding}/{clock_hz}"


def _heard(leg: Leg, kind: str, reader: MeterReader) -> StreamDetail | None:
    """The RTP stream that the end of a leg is sent now."""
    streams = reader.describe(leg.other, kind)
    if not streams:
        return None
    latest = _latest_ssrc(leg.other, reader)
    return next((stream for stream in streams if stream.ssrc == latest), None)


def _latest_ssrc(leg: Leg, reader: MeterReader) -> int | None:
    """The SSRC of the RTP that the end of a leg sends now; RTCP has that of its RTP, as in rtpengine."""
    latest = reader.latest(leg.rtp or leg)
    return None if latest is None else latest.ssrc

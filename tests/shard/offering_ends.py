"""Ends that keep the rules of offers and answers (RFC 3264), of bundles (RFC 9143) and of ICE (RFC 8839)."""

from collections.abc import Iterator

import msgspec
from hypothesis import strategies as st

from nh.sdp.crypto import read_crypto
from nh.sdp.description import Medium, SessionDescription

SUITE = "AES_CM_128_HMAC_SHA1_80"
KEY = "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"
FINGERPRINT = "fingerprint:sha-256 " + ":".join(["AB"] * 32)
CODECS = {"audio": "opus/48000/2", "video": "VP8/90000"}
DATA = ("application", "UDP/DTLS/SCTP", "webrtc-datachannel")

booleans: st.SearchStrategy[bool] = st.booleans()
mostly: st.SearchStrategy[bool] = st.sampled_from([True, True, True, False])


class EndMedium(msgspec.Struct, frozen=True):
    """What an end says of one medium.

    Attributes:
        kind, proto, format: of its m= line.
        mid: "" without one.
        port: where its transport is; 0 rejects it.
        bundled: its end bundles it.
        bundle_only: it has no transport of its own.
        mux: it has RTCP on its port.
        ice: its end has ICE for it, if at all.
        dtls, sdes: its means of SRTP; `sdes` is the tag of its a=crypto, 0 without one.
        held: its end sends and does not receive.
    """

    kind: str
    proto: str
    format: str
    mid: str
    port: int
    bundled: bool = False
    bundle_only: bool = False
    mux: bool = False
    ice: bool = True
    dtls: bool = False
    sdes: int = 0
    held: bool = False


class End(msgspec.Struct, frozen=True):
    """An end.

    Attributes:
        address: where its media are.
        turn: where it has a relay of its own, whose candidates are the default ones; "" for none.
        ice: it has ICE.
        own_lines: each medium has a c= of its own.
        setup: its part in the handshake of DTLS.
    """

    address: str
    turn: str = ""
    ice: bool = False
    own_lines: bool = False
    setup: str = "actpass"

    def write(self, media: list[EndMedium]) -> bytes:
        """The SDP with these media."""
        connection = f"c=IN IP4 {self.turn if self.ice and self.turn else self.address}"
        bundle = [each for each in media if each.bundled]
        lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", *([] if self.own_lines else [connection]), "t=0 0"]
        if bundle:
            lines.append("a=group:BUNDLE " + " ".join(each.mid for each in bundle))
        for each in media:
            port = 0 if each.bundle_only else each.port
            lines.append(f"m={each.kind} {port} {each.proto} {each.format}")
            lines += [connection] if self.own_lines else []
            if each.kind in CODECS:
                lines.append(f"a=rtpmap:{each.format} {CODECS[each.kind]}")
            lines += [f"a=mid:{each.mid}"] if each.mid else []
            lines += ["a=sendonly"] if each.held else []
            if each.bundle_only:
                lines.append("a=bundle-only")
            elif each.port:
                shared = each.bundled and each is not bundle[0] and each.port == bundle[0].port
                lines += ["a=rtcp-mux"] if each.mux else []
                lines += [] if shared else [f"a={line}" for line in self._transport(each)]
        return "".join(f"{line}\r\n" for line in lines).encode()

    def _transport(self, medium: EndMedium) -> Iterator[str]:
        if medium.dtls:
            yield from (FINGERPRINT, f"setup:{self.setup}")
        elif medium.sdes:
            yield f"crypto:{medium.sdes} {SUITE} {KEY}"
        if not (self.ice and medium.ice):
            return
        yield from (f"ice-ufrag:{'u' * 4}", f"ice-pwd:{'p' * 22}")
        for component in (1,) if medium.mux or medium.kind not in CODECS else (1, 2):
            port = medium.port + component - 1
            yield f"candidate:1 {component} UDP {2130706432 - component} {self.address} {port} typ host"
            if self.turn:
                there = f"{self.turn} {port} typ relay raddr {self.address} rport {port}"
                yield f"candidate:2 {component} UDP {16777216 - component} {there}"


def ends(host: int, setup: str = "actpass") -> st.SearchStrategy[End]:
    """Ends at 192.0.2.`host`, with a relay at 198.51.100.`host` or none."""
    turn = st.sampled_from(["", f"198.51.100.{host}"])
    return st.builds(End, st.just(f"192.0.2.{host}"), turn, booleans, booleans, st.just(setup))


@st.composite
def offered_media(draw: st.DrawFn) -> list[EndMedium]:
    """The media of an offer: one to four, some rejected, some in a bundle."""
    proto = draw(st.sampled_from(["RTP/AVP", "RTP/SAVP", "UDP/TLS/RTP/SAVPF"]))
    has_mids, one_port = draw(booleans), draw(booleans)
    media: list[EndMedium] = []
    tagged = 0
    for index in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["audio", "audio", "video", "video", "application"]))
        data = kind not in CODECS
        port = 4000 + 10 * index if draw(mostly) else 0
        bundled = bool(has_mids and port and draw(mostly) and (not data or "TLS" in proto))
        bundle_only = bool(bundled and tagged and draw(booleans))
        if bundled:
            tagged = tagged or port
            port = tagged if one_port or bundle_only else port
        media.append(
            EndMedium(
                kind,
                DATA[1] if data else proto,
                DATA[2] if data else str(96 + index),
                f"m{index}" if has_mids else "",
                port,
                bundled,
                bundle_only,
                not data and (bundled or draw(booleans)),
                True,
                data or "TLS" in proto,
                int(proto == "RTP/SAVP" and not data),
            )
        )
    return media


@st.composite
def answered_media(draw: st.DrawFn, offer: SessionDescription) -> list[EndMedium]:
    """The media of an answer to an offer, of which it may reject some, or lack the last ones."""
    wanted = {medium for medium in range(len(offer.media)) if draw(mostly)}
    group = next(iter(offer.bundles), ()) if draw(mostly) else ()
    by_mid = {medium.find_value("mid") or "": index for index, medium in enumerate(offer.media)}
    members = [by_mid[mid] for mid in group if mid in by_mid and by_mid[mid] in wanted]
    tagged = next((index for index in members if _has_transport(offer.media[index])), None)
    media: list[EndMedium] = []
    for index, medium in enumerate(offer.media):
        bundled = tagged is not None and index in members
        transport = offer.media[tagged] if bundled and tagged is not None else medium
        if index not in wanted or medium.rejected or not _has_transport(transport):
            media.append(rejected(medium))
            continue
        answered = _answered(medium, 5000 + 10 * transport.number)
        media.append(
            msgspec.structs.replace(
                answered,
                bundled=bundled,
                mux=medium.kind in CODECS and (bundled or (medium.rtcp_mux and draw(booleans))),
                ice=transport.ice,
                dtls=transport.has("fingerprint"),
                sdes=_tag_of(transport),
            )
        )
    return media[:-1] if len(media) > 1 and not draw(mostly) else media


def after_answer(offered: list[EndMedium], answer: SessionDescription) -> list[EndMedium]:
    """The media of an end whose offer has been answered: those of a bundle are at the port of its first."""
    by_mid = {medium.find_value("mid") or "": index for index, medium in enumerate(answer.media)}
    tagged = {by_mid[mid]: by_mid[mids[0]] for mids in answer.bundles for mid in mids}
    return [
        msgspec.structs.replace(
            each,
            port=offered[tagged.get(index, index)].port if answer.media[index].port else 0,
            bundled=index in tagged,
            bundle_only=False,
        )
        for index, each in enumerate(offered)
    ]


@st.composite
def later_media(draw: st.DrawFn, media: list[EndMedium]) -> list[EndMedium]:
    """The media of a later offer: some leave, are held, move or come back, and one may be new."""
    later = [_changed(draw, index, each, media) for index, each in enumerate(media)]
    if len(media) < 5 and draw(booleans):
        taken = {each.mid for each in media}
        mid = next(f"n{number}" for number in range(9) if f"n{number}" not in taken) if media[0].mid else ""
        added = EndMedium("video", "RTP/AVP", str(96 + len(media)), mid, 0)
        later.append(_returned(added, 4000 + 10 * len(media), later, bundled=draw(booleans)))
    return later


def _changed(draw: st.DrawFn, index: int, medium: EndMedium, media: list[EndMedium]) -> EndMedium:
    change = draw(st.sampled_from(["none", "none", "none", "leaves", "moves", "returns", "held"]))
    if change == "leaves":
        return msgspec.structs.replace(medium, port=0, bundled=False)
    if change == "moves" and medium.port and not medium.bundled:
        return msgspec.structs.replace(medium, port=medium.port + 200)
    if change == "returns" and not medium.port:
        return _returned(medium, 4600 + 10 * index, media, bundled=True)
    return msgspec.structs.replace(medium, held=change == "held")


def _returned(medium: EndMedium, port: int, media: list[EndMedium], *, bundled: bool) -> EndMedium:
    """A medium that an end has again, like its others, and in their bundle if that is wanted."""
    like = [each for each in (*media, medium) if each.kind in CODECS]
    proto = next((each.proto for each in like if each.port), like[0].proto) if like else medium.proto
    proto = proto if medium.kind in CODECS else medium.proto
    bundle = [each for each in media if each.bundled]
    bundled = bundled and bool(bundle and medium.mid)
    dtls = "TLS" in proto
    return msgspec.structs.replace(
        medium,
        proto=proto,
        port=bundle[0].port if bundled else port,
        bundled=bundled,
        mux=bundled and medium.kind in CODECS,
        ice=all(each.ice for each in media if each.port),
        dtls=dtls,
        sdes=int("SAVP" in proto and not dtls),
    )


def _has_transport(medium: Medium) -> bool:
    """Whether a medium of an offer can be taken by itself."""
    keyless = not (medium.has("fingerprint") or medium.has("crypto"))
    return medium.port != 0 and not (keyless and ("SAVP" in medium.proto or "DTLS" in medium.proto))


def _tag_of(medium: Medium) -> int:
    """The tag of the line of a=crypto that an end takes; 0 without one."""
    lines = read_crypto([each.value for each in medium.attributes.get("crypto", ())])
    return next((line.tag for line in lines if line.key.suite.name == SUITE), 0)


def rejected(medium: Medium) -> EndMedium:
    """What an end says of a medium of an offer that it does not take."""
    return _answered(medium, 0)


def _answered(medium: Medium, port: int) -> EndMedium:
    first = medium.field.formats[0].decode()
    return EndMedium(medium.kind, medium.proto, first, medium.find_value("mid") or "", port)

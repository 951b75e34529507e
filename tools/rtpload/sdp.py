"""As much SDP as two phones with audio, and video beside it, need (RFC 8866): written for them, and read from
what a relay made of it.

Pure text; knows no protocol that carries it.
"""

import ipaddress
import itertools
from collections.abc import Sequence

from nh.errors import MalformedFrame
from tools.rtpload.codec import VIDEO, Codec
from tools.rtpload.ends import BrowserParameters, Endpoint, MediaEnd, VideoPorts

_MAX_LINES = 1000
_MAX_MEDIA = 2


def write_sdp(
    end: MediaEnd,
    codec: Codec,
    packet_ms: float,
    *,
    direction: str,
    version: int,
    crypto: str = "",
    mids: Sequence[str] = (),
) -> str:
    """The SDP of one phone.

    Args:
        end: where it takes RTP and RTCP.
        codec, packet_ms: what it speaks.
        direction: sendrecv, sendonly, recvonly or inactive.
        version: of the session description: counts its changes.
        crypto: tag, suite and key of its SRTP (RFC 4568); "": none.
        mids: of the media of a browser, which bundles them (RFC 9143); empty: the offer has none.
    """
    family = "IP6" if ":" in end.rtp.address else "IP4"
    where = f"IN {family} {end.rtp.address}"
    proto = "UDP/TLS/RTP/SAVPF" if end.browser else "RTP/SAVP" if crypto else "RTP/AVP"
    lines = ["v=0", f"o=rtpload {end.rtp.port} {version} {where}", "s=-", f"c={where}", "t=0 0"]
    if end.browser and len(end.ports) > 1:
        lines.append(f"a=group:BUNDLE {' '.join(mids)}")
    for medium, ((rtp, rtcp), each, mid) in enumerate(
        zip(end.ports, (codec, VIDEO), (*mids, "", ""), strict=False)
    ):
        kind = "video" if each.clock_hz == VIDEO.clock_hz else "audio"
        lines += [
            f"m={kind} {rtp.port} {proto} {each.payload_type}",
            f"a=rtpmap:{each.payload_type} {each.rtpmap}",
            f"a=rtcp:{rtcp.port}",
            f"a={direction}",
            f"a=ptime:{packet_ms:g}",
        ]
        if crypto:
            lines.append(f"a=crypto:{crypto}")
        if end.browser:
            lines += _browser_lines(rtp, end.browser, mid)
            lines += [f"a=ssrc:{ssrc} cname:rtpload" for ssrc in end.browser.ssrcs[medium : medium + 1]]
    return "".join(line + "\r\n" for line in lines)


def read_sdp(text: str) -> MediaEnd:
    """Where the media of an SDP are to be sent: a=rtcp (RFC 3605) if it is there, else the port above.

    Raises:
        MalformedFrame: there is no medium, or no address or port for one that can be read.
    """
    lines = text.splitlines()[:_MAX_LINES]
    starts = [index for index, line in enumerate(lines) if line.startswith("m=")]
    session = lines[: starts[0]] if starts else lines
    media = [
        _read_medium([*session, *lines[start:end]])
        for start, end in itertools.pairwise([*starts, len(lines)])
    ][:_MAX_MEDIA]
    if not media:
        raise MalformedFrame("SDP from the relay: has no medium with an address")
    return MediaEnd(*media[0], video=VideoPorts(*media[1]) if len(media) > 1 else None)


def _read_medium(lines: Sequence[str]) -> tuple[Endpoint, Endpoint]:
    """RTP and RTCP of a medium, whose lines are behind those of the session."""
    address = rtcp_address = ""
    port = 0
    rtcp_port: int | None = None
    for line in lines:
        words = line[2:].split()
        if line.startswith("m="):
            port = _port(words[1] if len(words) > 1 else "", line)
        elif line.startswith("c="):
            address = _address(words, line)
        elif line.startswith("a=rtcp:"):
            words = line.removeprefix("a=rtcp:").split()
            rtcp_port = _port(words[0] if words else "", line)
            rtcp_address = _address(words[1:], line) if len(words) > 1 else ""
    if not address:
        raise MalformedFrame("SDP from the relay: has no medium with an address")
    rtcp_port = port + 1 if rtcp_port is None else rtcp_port
    return Endpoint(address, port), Endpoint(rtcp_address or address, rtcp_port)


def read_crypto(text: str, suite: str) -> tuple[str, str]:
    """Tag and key, in base64, of an SDP's line for a crypto suite. Raises MalformedFrame if there is none."""
    for line in text.splitlines()[:_MAX_LINES]:
        words = line.removeprefix("a=crypto:").split()
        if line.startswith("a=crypto:") and len(words) >= 3 and words[1] == suite:
            return words[0], words[2].removeprefix("inline:").split("|")[0]
    raise MalformedFrame(f"SDP from the relay: no a=crypto of {suite}")


def read_browser(text: str) -> tuple[BrowserParameters, list[str]]:
    """What an SDP for a browser says of ICE and DTLS, and the mids of its media, if they have any.

    Raises:
        MalformedFrame: some of it is missing.
    """
    values: dict[str, list[str]] = {}
    for line in text.splitlines()[:_MAX_LINES]:
        name, colon, value = line.partition(":")
        if colon:
            values.setdefault(name, []).append(value)
    try:
        ufrag, password, fingerprint = (
            values[name][0] for name in ("a=ice-ufrag", "a=ice-pwd", "a=fingerprint")
        )
    except KeyError as exc:
        raise MalformedFrame(f"SDP from the relay: no {exc.args[0]} for a browser") from None
    return BrowserParameters(ufrag, password, fingerprint), values.get("a=mid", [])


def _browser_lines(place: Endpoint, browser: BrowserParameters, mid: str) -> list[str]:
    return [
        "a=rtcp-mux",
        "a=setup:active",
        f"a=fingerprint:{browser.fingerprint}",
        f"a=ice-ufrag:{browser.ufrag}",
        f"a=ice-pwd:{browser.password}",
        f"a=candidate:1 1 UDP 2130706431 {place.address} {place.port} typ host",
        "a=end-of-candidates",
        *([f"a=mid:{mid}"] if mid else []),
    ]


def _address(words: list[str], line: str) -> str:
    if len(words) != 3:
        raise MalformedFrame(f"SDP from the relay: no address in {line[:80]!r}")
    try:
        return str(ipaddress.ip_address(words[2].split("/")[0]))
    except ValueError:
        raise MalformedFrame(f"SDP from the relay: no IP address in {line[:80]!r}") from None


def _port(word: str, line: str) -> int:
    number = word.split("/", maxsplit=1)[0]
    if not (number.isascii() and number.isdigit() and len(number) <= 5 and int(number) <= 65535):
        raise MalformedFrame(f"SDP from the relay: no port in {line[:80]!r}")
    return int(number)

"""As much SDP as two phones with one medium need: written by us, read from what a relay made of it (RFC
4566).

Pure text; knows no protocol that carries it.
"""

import ipaddress

from nh.errors import MalformedFrame
from tools.rtpload.codec import Codec
from tools.rtpload.ends import BrowserParameters, Endpoint, MediaEnd

_MAX_LINES = 1000


def write_sdp(
    end: MediaEnd,
    codec: Codec,
    packet_ms: float,
    *,
    direction: str,
    version: int,
    crypto: str = "",
    mid: str = "",
) -> str:
    """The SDP of one phone.

    Args:
        end: where it takes RTP and RTCP.
        codec, packet_ms: what it speaks.
        direction: sendrecv, sendonly, recvonly or inactive.
        version: of the session description: counts its changes.
        crypto: tag, suite and key of its SRTP (RFC 4568); "": none.
        mid: of the medium of a browser (RFC 9143); "": the offer has none.
    """
    family = "IP6" if ":" in end.rtp.address else "IP4"
    where = f"IN {family} {end.rtp.address}"
    kind = "video" if codec.clock_hz == 90_000 else "audio"
    proto = "UDP/TLS/RTP/SAVPF" if end.browser else "RTP/SAVP" if crypto else "RTP/AVP"
    lines = [
        "v=0",
        f"o=rtpload {end.rtp.port} {version} {where}",
        "s=-",
        f"c={where}",
        "t=0 0",
        f"m={kind} {end.rtp.port} {proto} {codec.payload_type}",
        f"a=rtpmap:{codec.payload_type} {codec.rtpmap}",
        f"a=rtcp:{end.rtcp.port}",
        f"a={direction}",
        f"a=ptime:{packet_ms:g}",
    ]
    if crypto:
        lines.append(f"a=crypto:{crypto}")
    if end.browser:
        lines += _browser_lines(end.rtp, end.browser, mid)
    return "".join(line + "\r\n" for line in lines)


def read_sdp(text: str) -> MediaEnd:
    """Where the first medium of an SDP is to be sent: a=rtcp (RFC 3605) if it is there, else the port above.

    Raises MalformedFrame if there is no medium, or no address or port for it that can be read.
    """
    address = rtcp_address = ""
    port: int | None = None
    rtcp_port: int | None = None
    for line in text.splitlines()[:_MAX_LINES]:
        words = line[2:].split()
        if line.startswith("m="):
            if port is not None:
                break
            port = _port(words[1] if len(words) > 1 else "", line)
        elif line.startswith("c="):
            address = _address(words, line)
        elif line.startswith("a=rtcp:") and port is not None:
            words = line.removeprefix("a=rtcp:").split()
            rtcp_port = _port(words[0] if words else "", line)
            rtcp_address = _address(words[1:], line) if len(words) > 1 else ""
    if port is None or not address:
        raise MalformedFrame("SDP from the relay: has no medium with an address")
    rtcp = Endpoint(rtcp_address or address, port + 1 if rtcp_port is None else rtcp_port)
    return MediaEnd(Endpoint(address, port), rtcp)


def read_crypto(text: str, suite: str) -> tuple[str, str]:
    """Tag and key, in base64, of an SDP's line for a crypto suite. Raises MalformedFrame if there is none."""
    for line in text.splitlines()[:_MAX_LINES]:
        words = line.removeprefix("a=crypto:").split()
        if line.startswith("a=crypto:") and len(words) >= 3 and words[1] == suite:
            return words[0], words[2].removeprefix("inline:").split("|")[0]
    raise MalformedFrame(f"SDP from the relay: no a=crypto of {suite}")


def read_browser(text: str) -> tuple[BrowserParameters, str]:
    """What an SDP for a browser says of ICE and DTLS, and the mid of its medium; "": it has none.

    Raises MalformedFrame if any of it is missing.
    """
    values: dict[str, str] = {}
    for line in text.splitlines()[:_MAX_LINES]:
        name, colon, value = line.partition(":")
        if colon:
            values.setdefault(name, value)
    try:
        parameters = BrowserParameters(values["a=ice-ufrag"], values["a=ice-pwd"], values["a=fingerprint"])
    except KeyError as exc:
        raise MalformedFrame(f"SDP from the relay: no {exc.args[0]} for a browser") from None
    return parameters, values.get("a=mid", "")


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

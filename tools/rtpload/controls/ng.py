"""rtpengine's ng protocol over UDP, in its JSON encoding: offer, answer and delete, as a SIP proxy sends
them.

A datagram is a cookie, a space and one JSON object; the reply repeats the cookie. What is not answered
within a second is sent again with the same cookie, which the relay answers without doing it twice.
"""

import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from nh.address import TcpAddress, parse_rpc_address
from nh.errors import CommandTimeout, ConfigError, MalformedFrame, Refused, Unavailable
from tools.rtpload.codec import Codec
from tools.rtpload.command_times import CommandTimes
from tools.rtpload.ends import Endpoint, MediaEnd, Targets, TransactionKey, VideoPorts
from tools.rtpload.sdp import read_browser, read_crypto, read_sdp, write_sdp

RETRY_S = 1.0
MAX_DATAGRAM_BYTES = 65_535
OVERLOADED = "Load limit exceeded"
"""The reason of rtpengine's at a limit of its load; nh says so, too, of a call whose shard has just died."""

LOSER = {
    family: MediaEnd(Endpoint(address, 5004), Endpoint(address, 5005))
    for family, address in ((4, "192.168.77.5"), (6, "fd00::77:5"))
}
"""What every phone that loses announces: it is behind a NAT, like all others."""

LATER_S = 1
"""Delay of the deletes of branches that ring until another one is answered."""


class NgControl:
    """See Control.

    Args:
        address: HOST:PORT of the relay's ng socket.
        timeout_s: longest time of one command, all tries together.
        codec, packet_ms: what the phones' SDP says.
        times: where the time of each command is counted.
        sip_sources: where a phone's SIP messages come from, by the address of its SDP, if not from there;
            None: the relay is not told where messages come from.
        forks: branches of each call that ring, with early media announced, and lose. Every other one is
            deleted before the next one rings, as in hunting; the others ring until one is answered.
        srtp: the crypto suite of the callees; "": they have plain RTP, as the callers.
        webrtc: the callees are browsers.
    """

    def __init__(
        self,
        address: str,
        timeout_s: float,
        codec: Codec,
        packet_ms: float,
        times: CommandTimes,
        *,
        sip_sources: Mapping[str, str] | None = None,
        forks: int = 0,
        srtp: str = "",
        webrtc: bool = False,
    ) -> None:
        self._forks = forks
        self._flags = _flags_for(srtp=bool(srtp), webrtc=webrtc)
        self._srtp = srtp
        self._webrtc = webrtc
        self._sip_sources = sip_sources
        self._timeout_s = timeout_s
        self._codec = codec
        self._packet_ms = packet_ms
        self._times = times
        self._cookies = secrets.token_hex(6)
        self._last_cookie = 0
        self._where = address
        self._sock = _connect(address)

    def check(self) -> None:
        """Ping."""
        reply = self._request({"command": "ping"})
        if reply.get("result") != "pong":
            raise MalformedFrame(f"ng: {self._where} answers a ping with {str(reply)[:200]}")

    def negotiate(self, key: TransactionKey, caller: MediaEnd, callee: MediaEnd, *, hold: bool) -> Targets:
        """Offer and answer, after those of the branches that lose."""
        ends = {"call-id": key.call_id, "from-tag": key.from_tag}
        forks = self._forks if key.cseq == 1 else 0
        for number in range(forks):
            self._lose(ends, caller, number)
        if key.cseq > 1:
            ends["to-tag"] = key.to_tag  # a re-INVITE is within the dialog
        elif forks:
            ends["via-branch"] = f"branch-{forks}"
        offered = self._sdp("offer", ends, caller, "sendonly" if hold else "sendrecv", key.cseq)
        ends["to-tag"] = key.to_tag
        theirs, crypto = read_sdp(offered), ""
        mids: Sequence[str] = ()
        if self._webrtc:
            parameters, mids = read_browser(offered)
            one_port = VideoPorts(theirs.rtp, theirs.rtp) if theirs.video else None
            theirs = theirs._replace(rtcp=theirs.rtp, browser=parameters, video=one_port)
        elif self._srtp:
            tag, relay_key = read_crypto(offered, self._srtp)
            theirs, crypto = theirs._replace(key=relay_key), f"{tag} {self._srtp} inline:{callee.key}"
        direction = "recvonly" if hold else "sendrecv"
        answered = self._sdp("answer", ends, callee, direction, key.cseq, crypto=crypto, mids=mids)
        for number in range(0, forks, 2):
            self._delete(ends | {"via-branch": f"branch-{number}"}, delay_s=LATER_S)
        return Targets(caller=read_sdp(answered), callee=theirs)

    def tear_down(self, key: TransactionKey) -> None:
        """Delete, at once instead of after rtpengine's 30 s."""
        self._delete({"call-id": key.call_id, "from-tag": key.from_tag, "to-tag": key.to_tag}, delay_s=0)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def _lose(self, ends: Mapping[str, str], caller: MediaEnd, number: int) -> None:
        """A branch whose phone rings, with early media announced, and is not the one that answers."""
        branch = {**ends, "via-branch": f"branch-{number}"}
        self._sdp("offer", branch, caller, "sendrecv", 1)
        loser = LOSER[6 if ":" in caller.rtp.address else 4]
        self._sdp("answer", branch | {"to-tag": f"loser-{number}"}, loser, "sendrecv", 1)
        if number % 2:
            self._delete(branch, delay_s=0)

    def _delete(self, ends: Mapping[str, str], *, delay_s: int) -> None:
        with self._times.measure("delete"):
            reply = self._request({"command": "delete", **ends, "delete-delay": delay_s})
        _check(reply, "delete")
        if warning := reply.get("warning"):
            raise Refused(f"delete: {warning}")

    def _sdp(
        self,
        command: str,
        ends: Mapping[str, str],
        end: MediaEnd,
        direction: str,
        cseq: int,
        *,
        crypto: str = "",
        mids: Sequence[str] = (),
    ) -> str:
        """The SDP that the relay makes of that of an end."""
        codec, packet_ms = self._codec, self._packet_ms
        sdp = write_sdp(end, codec, packet_ms, direction=direction, version=cseq, crypto=crypto, mids=mids)
        request: dict[str, object] = {
            "command": command,
            **ends,
            "sdp": sdp,
            "replace": ["origin"],
            **self._flags[command],
        }
        if self._sip_sources is not None:
            source = self._sip_sources.get(end.rtp.address, end.rtp.address)
            request["received-from"] = ["IP6" if ":" in source else "IP4", source]
        with self._times.measure(command):
            reply = self._request(request)
        _check(reply, command)
        text = reply.get("sdp")
        if not isinstance(text, str):
            raise MalformedFrame(f"ng: {command} is ok, but there is no sdp in the reply")
        return text

    def _request(self, request: dict[str, object]) -> dict[str, Any]:
        self._last_cookie += 1
        cookie = b"%s-%d" % (self._cookies.encode(), self._last_cookie)
        datagram = cookie + b" " + msgspec.json.encode(request)
        deadline = time.monotonic() + self._timeout_s
        while (now := time.monotonic()) < deadline:
            reply = self._exchange(cookie, datagram, min(deadline, now + RETRY_S))
            if reply is not None:
                return _decode(reply)
        raise CommandTimeout(f"ng: {self._where} does not answer within {self._timeout_s:g} s")

    def _exchange(self, cookie: bytes, datagram: bytes, deadline: float) -> bytes | None:
        """One try: the reply's dictionary, or None if there is none in time."""
        try:
            self._sock.send(datagram)
            while (left_s := deadline - time.monotonic()) > 0:
                self._sock.settimeout(left_s)
                reply_cookie, _, reply = self._sock.recv(MAX_DATAGRAM_BYTES).partition(b" ")
                if reply_cookie == cookie:  # else it is a late one, to an earlier request
                    return reply
        except TimeoutError:
            return None
        except OSError as exc:
            raise Unavailable(
                f"ng: {self._where}: {exc.strerror}; is the relay up, and does it listen for ng there?"
            ) from exc
        return None


def _flags_for(*, srtp: bool, webrtc: bool) -> dict[str, dict[str, object]]:
    """What the proxy says of the SDP for a callee, and of that for a caller, who has plain RTP."""
    if webrtc:
        return {
            "offer": {"flags": ["WebRTC"]},
            "answer": {"transport-protocol": "RTP/AVP", "ICE": "remove", "rtcp-mux": ["demux"]},
        }
    plain: dict[str, object] = {"ICE": "remove"}
    if srtp:
        return {
            "offer": {**plain, "transport-protocol": "RTP/SAVP"},
            "answer": {**plain, "transport-protocol": "RTP/AVP"},
        }
    return {"offer": plain, "answer": plain}


def _connect(address: str) -> socket.socket:
    where = parse_rpc_address(address)
    if not isinstance(where, TcpAddress):
        raise ConfigError(f"address: {address}: ng is spoken over UDP, so it is HOST:PORT")
    try:
        [(family, kind, proto, _, target), *_] = socket.getaddrinfo(
            where.host, where.port, type=socket.SOCK_DGRAM
        )
    except socket.gaierror as exc:
        raise Unavailable(f"ng: {address}: {exc.strerror}") from exc
    sock = socket.socket(family, kind, proto)
    sock.connect(target)
    return sock


def _decode(reply: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(reply, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise MalformedFrame(f"ng: the reply is no JSON object: {exc}") from exc


def _check(reply: dict[str, Any], command: str) -> None:
    """Raises Refused unless the result is ok; Unavailable if the relay has no process for the command now."""
    if reply.get("result") != "ok":
        reason = reply.get("error-reason") or reply.get("message") or reply.get("result")
        error = Unavailable if reason == OVERLOADED else Refused
        raise error(f"{command}: {reason}")

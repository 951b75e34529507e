"""A SIP phone with real media sockets, driven by a test step by step.

One dialog at a time, over UDP, through one outbound proxy. It keeps what RFC 3261 asks of an end: tags, CSeq
numbers, the route set and the remote target. It does not retransmit: loopback loses nothing, and a step
that does not happen fails its test.
"""

import dataclasses
import socket
from collections.abc import Sequence

from nh.address import socket_family
from nh.ip_address import host_port
from tests.sip.message import (
    Header,
    SipMessage,
    host_port_of,
    new_token,
    response_to,
    tag_of,
    uri_of,
)
from tests.sip.sdp import MediaLine, read_sdp, write_sdp
from tools.harness.closing import Closing
from tools.harness.media_peer import MediaPeer

RECEIVE_S = 20.0


@dataclasses.dataclass
class Dialog:
    """What an end remembers of a dialog (RFC 3261 12)."""

    call_id: str
    local: str
    remote: str
    target: str
    routes: list[str] = dataclasses.field(default_factory=list)
    cseq: int = 0


class Phone(Closing):
    """A phone.

    Args:
        user: its user name.
        address: IP address of its network.
        proxy: (host, port) of the proxy's leg in that network.
        media: number of media, each with RTP and RTCP sockets.
    """

    def __init__(self, user: str, address: str, proxy: tuple[str, int], media: int = 1) -> None:
        self.user = user
        self.proxy = proxy
        family = socket_family(address)
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((address, 0))
        self._socket.settimeout(RECEIVE_S)
        self.media = [MediaPeer(address) for _ in range(media)]
        self.remote_media: list[MediaLine] = []
        self.tag = new_token()
        self._dialog: Dialog | None = None
        self._invite: SipMessage | None = None
        self._sdp_version = 0
        self._received: set[bytes] = set()

    # --- what it is -------------------------------------------------------------------------------

    @property
    def uri(self) -> str:
        """Where it is called."""
        host, port = self._socket.getsockname()[:2]
        return f"sip:{self.user}@{host_port(host, port)}"

    @property
    def call_id(self) -> bytes:
        """The Call-ID of its dialog."""
        return self._in_dialog.call_id.encode()

    @property
    def target(self) -> tuple[str, int]:
        """Where its first medium goes, by the other end's last description."""
        return self.remote_media[0].target

    def describe(self) -> list[MediaLine]:
        """Its media as they are."""
        return [
            MediaLine(medium.address, medium.port, kind=kind)
            for medium, kind in zip(self.media, ("audio", "video", "text"), strict=False)
        ]

    # --- requests ---------------------------------------------------------------------------------

    def invite(
        self,
        callee: "Phone",
        media: Sequence[MediaLine] | None = None,
        *,
        call_id: str | None = None,
        at: str = "",
    ) -> None:
        """Call: the first INVITE of a dialog; with `media` of () the offer is left to the other end.

        It goes to the callee itself, or to a URI by which the proxy finds it (`at`).
        """
        local = f"<sip:{self.user}@example.org>;tag={self.tag}"
        remote = f"<sip:{callee.user}@example.org>"
        self._dialog = Dialog(call_id or f"{new_token()}@example.org", local, remote, target=at or callee.uri)
        self.reinvite(media)

    def reinvite(self, media: Sequence[MediaLine] | None = None) -> None:
        """INVITE within the dialog: new media."""
        self._in_dialog.cseq += 1
        self._invite = self._request("INVITE", body=self._offer(media))
        self._send(self._invite)

    def retransmit(self) -> None:
        """Send the last INVITE once more."""
        assert self._invite is not None
        self._send(self._invite)

    def ack(self, response: SipMessage, *, sdp: bool = False) -> None:
        """ACK a final response: of its own for a 2xx, part of the INVITE's transaction for another.

        With a description if `sdp`: the answer to an offer in the 2xx.
        """
        assert self._invite is not None
        accepted = response.code is not None and response.code < 300
        body = self._offer(None) if sdp else ""
        ack = self._request("ACK", body=body, like=None if accepted else self._invite)
        ack.headers = [
            ("To", response.get("To")) if name == "To" else (name, value) for name, value in ack.headers
        ]
        self._send(ack)

    def cancel(self) -> None:
        """CANCEL the INVITE that is under way."""
        assert self._invite is not None
        self._send(self._request("CANCEL", like=self._invite))

    def inform(self) -> None:
        """Send an INFO within the dialog."""
        self._send(self._request("INFO"))

    def bye(self) -> None:
        """End the dialog."""
        self._in_dialog.cseq += 1
        self._send(self._request("BYE"))

    # --- responses --------------------------------------------------------------------------------

    def answer(
        self, request: SipMessage, code: int, *, sdp: bool = False, media: Sequence[MediaLine] | None = None
    ) -> None:
        """Answer `request`; with a description if `sdp`, of `media` if given, else of its own."""
        body = self._offer(media) if sdp or media is not None else ""
        self._send_to_via(response_to(request, code, self.tag, [self._contact], body))

    # --- what comes in ----------------------------------------------------------------------------

    def receive_request(self, method: str) -> SipMessage:
        """The next message, which has to be this request; the dialog and the media follow it."""
        request = self._receive()
        assert request.code is None and request.method == method, f"{method} expected:\n{request}"
        if self._dialog is None:
            self.join(request)
        elif method == "INVITE":
            self._dialog.target = uri_of(request.get("Contact"))
        self._read_media(request)
        return request

    def join(self, invite: SipMessage) -> None:
        """Be called, too, by an INVITE that came to another phone, as if a proxy had forked it."""
        local = invite.get("To")
        self._dialog = Dialog(
            invite.get("Call-ID"),
            local if tag_of(local) else f"{local};tag={self.tag}",
            invite.get("From"),
            target=uri_of(invite.get("Contact")),
            routes=invite.all("Record-Route"),
        )
        self._read_media(invite)

    def receive_response(self, code: int, method: str = "INVITE") -> SipMessage:
        """The next message, which has to be this response; the dialog and the media follow it.

        A 100 is passed over: it comes from the proxy, not from the other end.
        """
        while (response := self._receive()).code == 100:
            pass
        assert (response.code, response.method) == (code, method), f"{code} expected:\n{response}"
        dialog = self._in_dialog
        dialog.remote = response.get("To")
        if method == "INVITE" and code < 300:
            dialog.target = uri_of(response.get("Contact"))
            dialog.routes = response.all("Record-Route")[::-1] or dialog.routes
            self._read_media(response)
        return response

    def forget(self) -> None:
        """Be ready for the next dialog."""
        self._dialog = None
        self.tag = new_token()

    # --- its insides ------------------------------------------------------------------------------

    @property
    def _in_dialog(self) -> Dialog:
        assert self._dialog is not None, f"{self.user} is in no dialog"
        return self._dialog

    @property
    def _contact(self) -> Header:
        return "Contact", f"<{self.uri}>"

    def _offer(self, media: Sequence[MediaLine] | None) -> str:
        if media is not None and not media:
            return ""
        self._sdp_version += 1
        return write_sdp(self.describe() if media is None else media, self._sdp_version)

    def _request(self, method: str, *, body: str = "", like: SipMessage | None = None) -> SipMessage:
        """A request in the dialog; `like` an INVITE where it belongs to that one's transaction."""
        dialog = self._in_dialog
        if like is not None:
            start = like.start.replace("INVITE", method, 1)
            kept = ("via", "route", "from", "to", "call-id", "max-forwards")
            headers = [header for header in like.headers if header[0].lower() in kept]
            return SipMessage(start, [*headers, ("CSeq", f"{like.cseq} {method}")])
        host, port = self._socket.getsockname()[:2]
        at = host_port(host, port)
        # An ACK carries the number of the INVITE that it acknowledges, which is the last one sent.
        headers = [
            ("Via", f"SIP/2.0/UDP {at};branch=z9hG4bK{new_token()}"),
            ("Max-Forwards", "70"),
            *(("Route", route) for route in dialog.routes),
            ("From", dialog.local),
            ("To", dialog.remote),
            ("Call-ID", dialog.call_id),
            ("CSeq", f"{dialog.cseq} {method}"),
            self._contact,
        ]
        return SipMessage(f"{method} {dialog.target} SIP/2.0", headers, body)

    def _read_media(self, message: SipMessage) -> None:
        if message.body:
            self.remote_media = read_sdp(message.body)

    def _send(self, request: SipMessage) -> None:
        routes = request.all("Route")
        self._socket.sendto(request.encode(), host_port_of(uri_of(routes[0])) if routes else self.proxy)

    def _send_to_via(self, response: SipMessage) -> None:
        sent_by = response.get("Via").split()[1].split(";")[0]
        self._socket.sendto(response.encode(), host_port_of(f"sip:{sent_by}"))

    def _receive(self) -> SipMessage:
        # a proxy sends again what is not answered within half a second (RFC 3261 17.1.1.2), as on a busy host
        while (datagram := self._socket.recv(65536)) in self._received:
            pass
        self._received.add(datagram)
        return SipMessage.parse(datagram)

    def close(self) -> None:
        """Close its sockets."""
        self._socket.close()
        for medium in self.media:
            medium.close()

"""SIP phones whose media are a browser's, over WebSocket (RFC 7118), or those of a phone that echoes."""

import contextlib
from collections.abc import Sequence

from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.sip.message import SipMessage, new_token
from tests.sip.phone import RECEIVE_S, Phone
from tests.sip.sdp import MediaLine
from tests.webrtc.echo_phone import EchoPhone

Proxy = tuple[str, int]


class EchoSipPhone(Phone):
    """A plain phone with audio and video.

    Args:
        echo: its media.
        proxy: where Kamailio listens.
    """

    def __init__(self, echo: EchoPhone, proxy: Proxy) -> None:
        super().__init__("plain", "127.0.0.1", proxy, media=0)
        self._echo = echo
        self.got = ""

    def _offer(self, media: Sequence[MediaLine] | None) -> str:
        return self._echo.answer(self.got)

    def _read_media(self, message: SipMessage) -> None:
        self.got = message.body or self.got


class WebSipPhone(Phone):
    """The SIP of a browser's page.

    Args:
        proxy: where Kamailio listens for phones.
        web: and for WebSocket.

    Attributes:
        sdp: what it says next.
        got: what it has got.
    """

    def __init__(self, proxy: Proxy, web: Proxy) -> None:
        super().__init__("web", "127.0.0.1", proxy, media=0)
        self._host = f"{new_token()}.invalid"
        self._closing = contextlib.ExitStack()
        self._connection = self._closing.enter_context(
            connect(
                f"ws://{web[0]}:{web[1]}/", subprotocols=[Subprotocol("sip")], proxy=None, ping_interval=None
            )
        )
        self.sdp = ""
        self.got = ""

    @property
    def uri(self) -> str:
        """Where it is called: its connection, by the name that it has registered."""
        return f"sip:{self.user}@{self._host};transport=ws"

    def register(self) -> None:
        """Be found from now on by its user name at the proxy."""
        host, port = self.proxy
        me = f"<sip:{self.user}@{host}:{port}>"
        headers = [
            ("Via", f"SIP/2.0/WS {self._host};branch=z9hG4bK{new_token()}"),
            ("Max-Forwards", "70"),
            ("From", f"{me};tag={new_token()}"),
            ("To", me),
            ("Call-ID", new_token()),
            ("CSeq", "1 REGISTER"),
            ("Expires", "600"),
            self._contact,
        ]
        self._connection.send(SipMessage(f"REGISTER sip:{host}:{port} SIP/2.0", headers).encode().decode())
        answered = self._receive()
        assert answered.code == 200, answered

    def close(self) -> None:
        """Close the connection."""
        self._closing.close()
        super().close()

    def _offer(self, media: Sequence[MediaLine] | None) -> str:
        return self.sdp

    def _read_media(self, message: SipMessage) -> None:
        self.got = message.body or self.got

    def _send(self, request: SipMessage) -> None:
        via = f"SIP/2.0/WS {self._host};branch=z9hG4bK{new_token()}"
        request.headers = [(name, via if name == "Via" else value) for name, value in request.headers]
        self._connection.send(request.encode().decode())

    def _send_to_via(self, response: SipMessage) -> None:
        self._connection.send(response.encode().decode())

    def _receive(self) -> SipMessage:
        message = self._connection.recv(RECEIVE_S)
        return SipMessage.parse(message.encode() if isinstance(message, str) else message)

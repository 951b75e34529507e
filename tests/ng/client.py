"""A client of the ng protocol, as SIP proxies are: cookie and dictionary out, cookie and dictionary back."""

import json
import socket
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from nh.address import socket_family
from tests.ng.bencode import bdecode, bencode
from tests.sip.message import new_token
from tools.harness.closing import Closing

REPLY_S = 20.0

NOT_FOUND = "Call-ID not found or tags didn't match"
"""The warning of a delete that found nothing."""

Reply = dict[str, Any]


class NgError(AssertionError):
    """The relay answered `result: error`; the message is its error-reason."""


class Encoding(NamedTuple):
    """One of the protocol's two notations of a dictionary."""

    name: str
    encode: Callable[[Mapping[str, object]], bytes]
    decode: Callable[[bytes], Reply]


BENCODE = Encoding("bencode", bencode, bdecode)
JSON = Encoding("json", lambda request: json.dumps(request).encode(), json.loads)


class NgClient(Closing):
    """A UDP client.

    Args:
        address: (host, port) where the relay listens for ng.
        encoding: of the requests.
    """

    def __init__(self, address: tuple[str, int], encoding: Encoding = BENCODE) -> None:
        self.encoding = encoding
        family = socket_family(address[0])
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.settimeout(REPLY_S)
        self._socket.connect(address)

    def request(self, command: str, **fields: object) -> Reply:
        """The reply, whatever its result; `_` in the names of fields stands for `-`."""
        request = {"command": command, **{key.replace("_", "-"): value for key, value in fields.items()}}
        return self.encoding.decode(self.exchange(self.encoding.encode(request)))

    def get(self, command: str, **fields: object) -> Reply:
        """The reply of a request that has to succeed. Raises NgError if it does not."""
        reply = self.request(command, **fields)
        if reply["result"] not in ("ok", "pong"):
            raise NgError(reply.get("error-reason", reply))
        return reply

    def exchange(self, body: bytes, cookie: str | None = None) -> bytes:
        """The body of the reply to one datagram, under a new cookie if none is given."""
        cookie = new_token() if cookie is None else cookie
        self.send(cookie.encode() + b" " + body)
        while True:
            answered, _, reply = self.receive().partition(b" ")
            if answered == cookie.encode():
                return reply

    def send(self, datagram: bytes) -> None:
        """One datagram, as it is."""
        self._socket.send(datagram)

    def receive(self) -> bytes:
        """The next datagram. Raises TimeoutError if none comes."""
        return self._socket.recv(65536)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def reason(reply: Reply) -> str:
    """Why a request failed. Raises AssertionError if it did not."""
    assert reply["result"] == "error", reply
    return str(reply["error-reason"])

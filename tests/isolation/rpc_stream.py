"""Bytes to and from an RPC socket, with none of a client's good manners, and requests to put into them."""

import contextlib
import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

from nh.wire.framing import frame
from nh.wire.netsip.storable import Value, freeze_array, thaw
from tools.harness.closing import Closing

REPLY_S = 20.0


class RpcStream(Closing):
    """A connection to an RPC socket.

    Args:
        address: path of a Unix socket, or HOST:PORT.
    """

    def __init__(self, address: str) -> None:
        if "/" in address:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address)
        else:
            host, _, port = address.rpartition(":")
            self.socket = socket.create_connection((host, int(port)))
        self.socket.settimeout(REPLY_S)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def receive(self) -> bytes | None:
        """The payload of the next frame, or None if the server closed the connection instead.

        Raises TimeoutError if neither happens.
        """
        header = self._receive_exactly(4)
        if header is None:
            return None
        return self._receive_exactly(struct.unpack("!I", header)[0])

    def receive_all(self) -> list[bytes]:
        """End our side and take what is still answered until the server ends its own."""
        with contextlib.suppress(OSError):  # the server may have ended the connection already
            self.socket.shutdown(socket.SHUT_WR)
        payloads = []
        while (payload := self.receive()) is not None:
            payloads.append(payload)
        return payloads

    def _receive_exactly(self, size: int) -> bytes | None:
        data = b""
        while len(data) < size:
            try:
                chunk = self.socket.recv(size - len(data))
            except ConnectionResetError:
                return None
            if not chunk:
                return None
            data += chunk
        return data

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


def perl_request(*words: object) -> bytes:
    """The frame of a Net::SIP request."""
    return frame(freeze_array(list(words)))


def json_request(**fields: object) -> bytes:
    """The frame of a native request."""
    return frame(json.dumps(fields).encode())


def ask_perl(address: str, request: bytes) -> Value:
    """What a Net::SIP request is answered with; raises AssertionError if the connection is closed instead."""
    with RpcStream(address) as stream:
        stream.send(request)
        payload = stream.receive()
        assert payload is not None, "the connection was closed without a reply"
        return thaw(payload)


def ask_json(address: str, request: bytes) -> Mapping[str, Any]:
    """What a native request is answered with; raises AssertionError if the connection is closed instead."""
    with RpcStream(address) as stream:
        stream.send(request)
        payload = stream.receive()
        assert payload is not None, "the connection was closed without a reply"
        reply: Mapping[str, Any] = json.loads(payload)
        return reply


# --- a good call, to show that other clients are served ---------------------------------------------


def nat_basic(call_id: bytes, cseq: object = 1) -> list[object]:
    """A nat_basic."""
    return [call_id, cseq, b"sip:a\0tag-a\0near", b"sip:b\0tag-b\0far", b"sip:a@x", b"sip:b@x"]


def medium(**changes: object) -> dict[str, object]:
    """A medium as Net::SIP::SDP gives it, with changes; a field that is ... is left out."""
    fields: dict[str, object] = {"addr": b"127.0.0.1", "port": b"30000", "range": 2, "proto": b"RTP/AVP"}
    return {name: value for name, value in (fields | changes).items() if value is not ...}


def allocate(call_id: bytes, side: object = 0, *media: object) -> bytes:
    """The frame of an allocate."""
    return perl_request(b"allocate", nat_basic(call_id), side, b"127.0.0.1", list(media) or [medium()])


def activate(call_id: bytes) -> bytes:
    """The frame of an activate."""
    return perl_request(b"activate", nat_basic(call_id))


def bye(call_id: bytes) -> bytes:
    """The frame of a close by BYE."""
    return perl_request(b"close", nat_basic(call_id, None))


def assert_calls_are_served(address: str, call_id: bytes = b"a good call") -> None:
    """Set a call up and close it."""
    for side in (0, 1):
        media = ask_perl(address, allocate(call_id, side))
        assert isinstance(media, list)
        [medium_there] = media
        assert isinstance(medium_there, list)
        host, port, number = medium_there
        assert (host, number) == (b"127.0.0.1", 2)
        assert port
    assert ask_perl(address, activate(call_id)) == 1
    assert ask_perl(address, activate(call_id)) == -1
    assert ask_perl(address, bye(call_id)) == 1

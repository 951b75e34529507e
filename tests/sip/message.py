"""SIP messages as text (RFC 3261 7): what a small phone needs to write and read them."""

import dataclasses
import re
import secrets
from collections.abc import Sequence
from typing import Self

Header = tuple[str, str]


@dataclasses.dataclass
class SipMessage:
    """A request or a response.

    Args:
        start: the start line.
        headers: names and values in the order of the message, Content-Length left out.
        body: a session description, or "".
    """

    start: str
    headers: list[Header]
    body: str = ""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The message in one datagram."""
        head, _, body = data.decode().partition("\r\n\r\n")
        start, *lines = head.split("\r\n")
        headers = []
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip().lower() != "content-length":
                headers.append((name.strip(), value.strip()))
        return cls(start, headers, body)

    def encode(self) -> bytes:
        """The datagram."""
        body = self.body.encode()
        lines = [self.start, *(f"{name}: {value}" for name, value in self.headers)]
        if body:
            lines.append("Content-Type: application/sdp")
        lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    def all(self, name: str) -> list[str]:
        """The values of every `name` header."""
        return [value for header, value in self.headers if header.lower() == name.lower()]

    def get(self, name: str) -> str:
        """The value of the first `name` header; raises AssertionError if there is none."""
        values = self.all(name)
        assert values, f"no {name} in:\n{self.encode().decode()}"
        return values[0]

    @property
    def method(self) -> str:
        """The method of a request or, from the CSeq, of the request that a response answers."""
        return self.get("CSeq").split()[1]

    @property
    def cseq(self) -> int:
        """The number in the CSeq."""
        return int(self.get("CSeq").split()[0])

    @property
    def code(self) -> int | None:
        """The status code of a response, None for a request."""
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else None


def response_to(
    request: SipMessage, code: int, tag: str, headers: Sequence[Header] = (), body: str = ""
) -> SipMessage:
    """A response (RFC 3261 8.2.6).

    Args:
        request: what it answers.
        code: its status code.
        tag: of this end, added to To unless it has one.
        headers: further headers.
        body: session description.
    """
    copied = [
        (name, value)
        for name, value in request.headers
        if name.lower() in ("via", "from", "to", "call-id", "cseq", "record-route")
    ]
    tagged = [
        (name, f"{value};tag={tag}" if name.lower() == "to" and not tag_of(value) else value)
        for name, value in copied
    ]
    return SipMessage(f"SIP/2.0 {code} {REASONS[code]}", [*tagged, *headers], body)


REASONS = {
    180: "Ringing",
    183: "Session Progress",
    200: "OK",
    486: "Busy Here",
    487: "Request Terminated",
}


def uri_of(value: str) -> str:
    """The URI in a From, To, Contact, Route or Record-Route."""
    found = re.search(r"<([^>]+)>", value)
    return found[1] if found else value.split(";", maxsplit=1)[0]


def tag_of(value: str) -> str:
    """The tag of a From or To, "" if it has none."""
    found = re.search(r";tag=([^;>\s]+)", value)
    return found[1] if found else ""


def host_port_of(uri: str) -> tuple[str, int]:
    """Where a SIP URI with a numeric host leads."""
    found = re.match(r"sips?:(?:[^@]*@)?(\[[^\]]+\]|[^:;]+)(?::(\d+))?", uri)
    assert found, f"not a SIP URI: {uri}"
    return found[1].strip("[]"), int(found[2] or 5060)


def new_token() -> str:
    """Something that no other call, dialog or transaction has."""
    return secrets.token_hex(8)

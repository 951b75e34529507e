"""A call as an ng client drives it: descriptions in, descriptions out, and what phones would see in them."""

import dataclasses
from collections.abc import Sequence

from tests.calls.rtp import DTMF
from tests.ng.client import NgClient, Reply
from tests.sip.message import new_token
from tests.sip.sdp import MediaLine, read_sdp, write_sdp
from tools.harness.media_peer import RTCP, RTP, MediaPeer

AUDIO = [MediaLine("127.0.0.1", 40_000)]
SDP = write_sdp(AUDIO)
"""A description for tests in which no media flow."""

Description = str | Sequence[MediaLine]


class NgCall:
    """One call; `from_tag` is the caller's, `to_tag` the callee's.

    Args:
        client: who asks.

    `flags` of its methods are further fields of the request, `_` for `-`.
    """

    def __init__(self, client: NgClient) -> None:
        self.client = client
        self.call_id = f"{new_token()}@example.org"
        self.from_tag = new_token()
        self.to_tag = new_token()

    def offer(self, description: Description, **flags: object) -> str:
        """The caller's first offer; what the callee gets."""
        return self._rewrite("offer", description, from_tag=self.from_tag, **flags)

    def answer(self, description: Description, **flags: object) -> str:
        """The callee's answer to the caller's offer; what the caller gets."""
        tags = {"from_tag": self.from_tag, "to_tag": self.to_tag}
        return self._rewrite("answer", description, **{**tags, **flags})

    def reoffer(self, description: Description, **flags: object) -> str:
        """Another offer, of the caller's if `flags` have no tags; what the other end gets."""
        tags = {"from_tag": self.from_tag, "to_tag": self.to_tag}
        return self._rewrite("offer", description, **{**tags, **flags})

    def reoffer_of_callee(self, description: Description, **flags: object) -> str:
        """An offer of the callee's; what the caller gets."""
        return self._rewrite("offer", description, from_tag=self.to_tag, to_tag=self.from_tag, **flags)

    def answer_of_caller(self, description: Description, **flags: object) -> str:
        """The caller's answer to the callee's offer; what the callee gets."""
        return self._rewrite("answer", description, from_tag=self.to_tag, to_tag=self.from_tag, **flags)

    def delete(self, **flags: object) -> Reply:
        """The end of the call, at once if `flags` say nothing else."""
        return self.client.get("delete", call_id=self.call_id, **{"delete_delay": 0, **flags})

    def query(self) -> Reply:
        """What the relay knows of the call."""
        return self.client.get("query", call_id=self.call_id)

    def is_known(self) -> bool:
        """Whether the relay knows the call."""
        return bool(self.client.request("query", call_id=self.call_id)["result"] == "ok")

    def _rewrite(self, command: str, description: Description, **fields: object) -> str:
        text = description if isinstance(description, str) else write_sdp(description)
        reply = self.client.get(command, call_id=self.call_id, sdp=text, **fields)
        return str(reply["sdp"])


class End:
    """One end of a call: its media sockets, and where the relay tells it to send.

    Args:
        name: for its packets.
        address: of its network.
        media: number of media.
    """

    def __init__(self, name: str, address: str = "127.0.0.1", media: int = 1) -> None:
        self.name = name
        self.media = [MediaPeer(address) for _ in range(media)]
        self.remote: list[MediaLine] = []

    def describe(self) -> list[MediaLine]:
        """Its media as they are."""
        kinds = ("audio", "video", "text")
        return [
            MediaLine(medium.address, medium.port, kind=kind)
            for medium, kind in zip(self.media, kinds, strict=False)
        ]

    def move(self) -> MediaPeer:
        """Take other ports for its first medium; the old ones, for the caller to close."""
        old = self.media[0]
        self.media[0] = MediaPeer(old.address)
        return old

    def read(self, description: str) -> list[MediaLine]:
        """Where to send from now on."""
        self.remote = read_sdp(description)
        return self.remote

    def close(self) -> None:
        for medium in self.media:
            medium.close()


def with_events(end: End, clock_hz: int = 8000) -> str:
    """The SDP of an end whose media have DTMF events."""
    attributes = (f"rtpmap:{DTMF} telephone-event/{clock_hz}",)
    media = [dataclasses.replace(each, attributes=attributes) for each in end.describe()]
    return write_sdp(media).replace("RTP/AVP 0", f"RTP/AVP 0 {DTMF}")


def talk(one: End, other: End, components: Sequence[int] = (RTP, RTCP), media: Sequence[int] = (0,)) -> None:
    """Packets go both ways, each from the port that its receiver sends to."""
    for number in media:
        for component in components:
            for speaker, listener in ((one, other), (other, one)):
                say(speaker, listener, component, number)


def say(speaker: End, listener: End, component: int = RTP, number: int = 0) -> None:
    """One packet arrives."""
    payload = f"{speaker.name} on {number}.{component}".encode()
    speaker.media[number].send(payload, speaker.remote[number].target, component)
    received, source = listener.media[number].receive(component)
    address, port = listener.remote[number].target
    assert received == payload
    assert source == (address, port + component), "not from where the listener sends to"

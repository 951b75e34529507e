"""aiortc, an implementation of WebRTC that is no browser's: with a plain phone, and with another aiortc."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from tests.ng.ng_call import NgCall
from tests.survival.faults import kill_shards, ng_client
from tests.webrtc.bundle_phone import AUDIO
from tests.webrtc.echo_phone import EchoPhone
from tools.harness.deployment import Deployment, deployed_relay

aiortc = pytest.importorskip("aiortc")

pytestmark = pytest.mark.full

TO_PLAIN: dict[str, Any] = {"transport_protocol": "RTP/AVP", "ICE": "remove", "rtcp_mux": ["demux"]}
TO_WEB: dict[str, Any] = {"flags": ["WebRTC"]}
PACKETS = 25
"""Half a second of speech."""
MAX_S = 60.0


class AiortcPhone:
    """A phone that says nothing, which are packets, too, and counts what comes."""

    def __init__(self) -> None:
        self.connection = aiortc.RTCPeerConnection()
        self.connection.addTrack(aiortc.AudioStreamTrack())
        self.frames = 0
        self._listening: list[asyncio.Task[None]] = []
        self.connection.on("track", self._listen)
        self.connection.on("datachannel", self._take_channel)
        self.read: list[str] = []
        self._channel: Any = None

    async def offer(self) -> str:
        """Its offer, with all candidates."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return str(self.connection.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        """Take the answer to it."""
        await self.connection.setRemoteDescription(aiortc.RTCSessionDescription(answer, "answer"))

    async def answer(self, offer: str) -> str:
        """Its answer to an offer."""
        await self.connection.setRemoteDescription(aiortc.RTCSessionDescription(offer, "offer"))
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        return str(self.connection.localDescription.sdp)

    def open_channel(self) -> None:
        """Offer a data channel, too."""
        self._take_channel(self.connection.createDataChannel("text"))

    @property
    def can_write(self) -> bool:
        """Whether its data channel is open."""
        return self._channel is not None and self._channel.readyState == "open"

    def write(self, text: str) -> None:
        """Send text over its data channel."""
        self._channel.send(text)

    async def close(self) -> None:
        """Hang up."""
        for task in self._listening:
            task.cancel()
        await self.connection.close()
        await asyncio.gather(*self._listening, return_exceptions=True)

    def _take_channel(self, channel: Any) -> None:
        self._channel = channel
        channel.on("message", self.read.append)

    def _listen(self, track: Any) -> None:
        self._listening.append(asyncio.create_task(self._count(track)))

    async def _count(self, track: Any) -> None:
        with contextlib.suppress(aiortc.mediastreams.MediaStreamError):
            while True:
                await track.recv()
                self.frames += 1


@contextlib.asynccontextmanager
async def talking(call: NgCall, plain: EchoPhone, *, caller: str, dtls: str) -> AsyncIterator[AiortcPhone]:
    """A call between aiortc and a phone that sends back what it hears.

    Args:
        call: the call.
        plain: the phone.
        caller: "aiortc" or "phone".
        dtls: the relay's role; aiortc leaves it the choice where it calls, and is active where it answers.
    """
    web = AiortcPhone()
    try:
        if caller == "aiortc":
            offer = call.offer(await web.offer(), DTLS=dtls, **TO_PLAIN)
            answer = call.answer(plain.answer(offer), **TO_WEB)
            assert f"a=setup:{dtls}\r\n" in answer
            await web.accept(answer)
        else:
            answer = await web.answer(call.offer(plain.sdp(media=1), **TO_WEB))
            call.answer(answer, **TO_PLAIN)
        yield web
    finally:
        await web.close()


@contextlib.asynccontextmanager
async def calling_each_other(call: NgCall) -> AsyncIterator[tuple[AiortcPhone, AiortcPhone]]:
    """A call between two, with audio and a data channel in a bundle: DTLS and ICE pass through."""
    one, two = AiortcPhone(), AiortcPhone()
    one.open_channel()
    try:
        answer = await two.answer(call.offer(await one.offer()))
        await one.accept(call.answer(answer))
        yield one, two
    finally:
        await one.close()
        await two.close()


async def until(holds: Callable[[], bool]) -> None:
    """Return once it holds; aiortc lives in this loop, so nothing may block."""
    async with asyncio.timeout(MAX_S):
        while not holds():
            await asyncio.sleep(0.01)


async def both_hear(web: AiortcPhone, plain: EchoPhone) -> None:
    """More speech than before arrives at both ends."""
    frames, packets = web.frames + PACKETS, plain.heard(AUDIO).packets + PACKETS
    await until(lambda: web.frames >= frames and plain.heard(AUDIO).packets >= packets)


async def pass_data(deployment: Deployment) -> None:
    """Text goes both ways over a data channel, also after the death of all shards."""
    with ng_client(deployment) as client:
        async with calling_each_other(NgCall(client)) as (one, two):
            await until(lambda: one.can_write and two.can_write)
            for text in ("hello", "still there?"):
                one.write(text)
                two.write(text)
                await until(lambda text=text: text in one.read and text in two.read)  # type: ignore[misc]
                await until(lambda: min(one.frames, two.frames) > PACKETS)
                await asyncio.to_thread(kill_shards, deployment)


async def play(deployment: Deployment, caller: str, dtls: str) -> str:
    """A call, over the death of all shards; returns aiortc's state of it."""
    with ng_client(deployment) as client, EchoPhone() as plain:
        async with talking(NgCall(client), plain, caller=caller, dtls=dtls) as web:
            await both_hear(web, plain)
            await asyncio.to_thread(kill_shards, deployment)
            await both_hear(web, plain)
            return str(web.connection.connectionState)


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with deployed_relay(ng="127.0.0.1:0", interface="pub/127.0.0.1") as deployment:
        deployment.start()
        yield deployment


@pytest.fixture(autouse=True)
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: ["127.0.0.1"])


@pytest.mark.parametrize(
    ("caller", "dtls"), [("aiortc", "passive"), ("aiortc", "active"), ("phone", "passive")]
)
def test_aiortc_and_a_plain_phone_hear_each_other_over_the_death_of_all_shards(
    deployment: Deployment, caller: str, dtls: str
) -> None:
    assert asyncio.run(play(deployment, caller, dtls)) == "connected"


def test_a_data_channel_passes_through_over_the_death_of_all_shards(deployment: Deployment) -> None:
    asyncio.run(pass_data(deployment))

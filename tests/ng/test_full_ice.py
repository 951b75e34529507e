"""A full agent of ICE, aioice, calls and is called through nh, over IPv4 and IPv6."""

import asyncio
from typing import Any

import pytest

from tests.ng.client import NgClient
from tests.ng.ng_call import End, NgCall
from tests.ng.relays import NgRelay
from tests.sip.sdp import MediaLine, read_sdp
from tests.srtp.packets import rtp

aioice = pytest.importorskip("aioice")


class FullAgent:
    """A phone with RTP and RTCP on ports of their own, or multiplexed (RFC 5761)."""

    def __init__(self, address: str, *, controlling: bool, muxes: bool = False) -> None:
        self.address = address
        self.muxes = muxes
        self.connection: Any = aioice.Connection(ice_controlling=controlling, components=1 if muxes else 2)

    def describe(self) -> list[MediaLine]:
        candidates = self.connection.local_candidates
        port = next(each.port for each in candidates if each.component == 1)
        attributes = (
            *(("rtcp-mux",) if self.muxes else ()),
            f"ice-ufrag:{self.connection.local_username}",
            f"ice-pwd:{self.connection.local_password}",
            *(f"candidate:{each.to_sdp()}" for each in candidates),
        )
        return [MediaLine(self.address, port, attributes=attributes)]

    async def read(self, description: str) -> None:
        """Take the relay's credentials and candidates."""
        (medium,) = read_sdp(description)
        for attribute in medium.attributes:
            name, _, value = attribute.partition(":")
            if name == "ice-ufrag":
                self.connection.remote_username = value
            elif name == "ice-pwd":
                self.connection.remote_password = value
            elif name == "candidate":
                await self.connection.add_remote_candidate(aioice.Candidate.from_sdp(value))
        await self.connection.add_remote_candidate(None)
        self.connection.remote_is_lite = "a=ice-lite" in description
        assert self.connection.remote_is_lite


@pytest.mark.parametrize(("address", "family"), [("127.0.0.1", "IP4"), ("::1", "IP6")])
@pytest.mark.parametrize("calls", [True, False], ids=["calls", "is called"])
def test_media_flow_both_ways(
    monkeypatch: pytest.MonkeyPatch, nh: NgRelay, alice: End, *, address: str, family: str, calls: bool
) -> None:
    """One that believes to be controlled, as an answerer of a full agent is, learns that it is not."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: [address])

    async def talk(call: NgCall) -> None:
        full = FullAgent(address, controlling=calls)
        await full.connection.gather_candidates()
        try:
            if calls:
                alice.read(call.offer(full.describe(), ICE="remove", address_family="IP4"))
                await full.read(call.answer(alice.describe(), address_family=family))
            else:
                await full.read(call.offer(alice.describe(), ICE="force", address_family=family))
                alice.read(call.answer(full.describe(), address_family="IP4"))
            await full.connection.connect()
            for number in range(3):
                await full.connection.sendto(rtp(number), 1)
                assert alice.media[0].receive()[0] == rtp(number)
                alice.media[0].send_raw(rtp(number), alice.remote[0].target)
                assert await full.connection.recvfrom() == (rtp(number), 1)
        finally:
            await full.connection.close()

    with NgClient(nh.address) as client:
        call = NgCall(client)
        asyncio.run(talk(call))
        call.delete()


@pytest.mark.parametrize("muxes", [True, False], ids=["the caller", "the callee"])
def test_two_meet_of_which_one_alone_multiplexes(
    monkeypatch: pytest.MonkeyPatch, nh: NgRelay, *, muxes: bool
) -> None:
    """The other one has to find a path for its RTCP, too, before any of its media flow."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: ["127.0.0.1"])

    async def talk(call: NgCall) -> None:
        caller = FullAgent("127.0.0.1", controlling=True, muxes=muxes)
        callee = FullAgent("127.0.0.1", controlling=False, muxes=not muxes)
        both = caller, callee
        for each in both:
            await each.connection.gather_candidates()
        try:
            await callee.read(call.offer(caller.describe(), rtcp_mux=["demux"] if muxes else ["offer"]))
            await caller.read(call.answer(callee.describe()))
            await asyncio.gather(*[each.connection.connect() for each in both])
            for sender, receiver in (both, both[::-1]):
                await sender.connection.sendto(rtp(1), 1)
                assert await receiver.connection.recvfrom() == (rtp(1), 1)
        finally:
            for each in both:
                await each.connection.close()

    with NgClient(nh.address) as client:
        call = NgCall(client)
        asyncio.run(talk(call))
        call.delete()

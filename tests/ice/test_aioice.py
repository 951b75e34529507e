"""The lite agent and a full one, aioice, over real sockets."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from nh.ice.agent import CheckResult, IceAgent, IceComponent, answer_check
from nh.ice.candidates import foundation, priority
from nh.ice.credentials import new_credentials
from nh.ice.stun import is_stun

aioice = pytest.importorskip("aioice")


class LiteEnd(asyncio.DatagramProtocol):
    """A socket that answers checks, and echoes all else."""

    transport: asyncio.DatagramTransport

    def __init__(self, agent: IceAgent) -> None:
        self.agent = agent
        self.component = IceComponent()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if not is_stun(data):
            self.transport.sendto(data, addr)
            return
        decision = answer_check(self.agent, self.component, data, addr[:2], now=time.monotonic())
        if decision.response:
            self.transport.sendto(decision.response, addr)


@contextlib.asynccontextmanager
async def connected(
    monkeypatch: pytest.MonkeyPatch, address: str, *, controlling: bool = True
) -> AsyncIterator[tuple[LiteEnd, Any]]:
    """A lite end, and aioice that has been told of it."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: [address])
    peer = aioice.Connection(ice_controlling=controlling)
    peer.remote_is_lite = True
    agent = IceAgent((new_credentials(),), peer.local_username)
    loop = asyncio.get_running_loop()
    transport, end = await loop.create_datagram_endpoint(lambda: LiteEnd(agent), local_addr=(address, 0))
    (ours,) = agent.credentials
    peer.remote_username, peer.remote_password = ours.ufrag, ours.password
    port = transport.get_extra_info("sockname")[1]
    await peer.add_remote_candidate(
        aioice.Candidate(foundation(address), 1, "udp", priority(1), address, port, "host")
    )
    await peer.add_remote_candidate(None)
    await peer.gather_candidates()
    try:
        yield end, peer
    finally:
        await peer.close()
        transport.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("controlling", [True, False])
def test_a_full_agent_connects(monkeypatch: pytest.MonkeyPatch, address: str, controlling: bool) -> None:
    """One that believes to be controlled is told that it is not (RFC 8445 7.2.5.1)."""

    async def connect() -> IceComponent:
        async with connected(monkeypatch, address, controlling=controlling) as (end, peer):
            await peer.connect()
            await peer.send(b"media")
            assert await peer.recv() == b"media"
            return end.component

    component = asyncio.run(connect())
    assert component.selected is not None and component.selected[0] == address
    assert component.results[CheckResult.ANSWERED] >= 1
    assert (CheckResult.ROLE_CONFLICT in component.results) is not controlling

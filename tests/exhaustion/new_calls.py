"""New calls where nothing is left for them: how they are refused, and when they are taken again."""

import contextlib
from collections.abc import Iterator

import pytest

from nh.calls.media import Media, Side
from nh.client import Client
from nh.errors import PortsExhausted
from tools.harness.call import RelayedCall
from tools.harness.relay import Relay
from tools.harness.waiting import TIMEOUT_S, eventually

LOOPBACK = "127.0.0.1"


def assert_new_calls_are_refused(relay: Relay, why: str, times: int = 3) -> None:
    """New calls are refused several times, in each protocol: with `why` natively, with undef by Net::SIP."""
    client = Client(relay.unix_address, TIMEOUT_S)
    for number in range(times):
        with pytest.raises(PortsExhausted, match=why):
            RelayedCall(relay.unix_address)
        media = [Media(LOOPBACK, 40_000, 2, "RTP/AVP", "audio")]
        basic = [f"refused-{number}", 1, "alice", "bob", "", ""]
        assert client.allocate_sockets(basic, Side.FROM, LOOPBACK, media) is None


def lines_with(relay: Relay, text: str) -> list[str]:
    """The lines of the relay's output that contain `text`."""
    return [line for line in relay.program.lines if text in line]


def wait_until_calls_are_taken(relay: Relay) -> None:
    """Return when a call succeeds again, and the relay has logged it."""

    def one_comes_through() -> bool:
        try:
            call = RelayedCall(relay.unix_address)
        except PortsExhausted:
            return False
        with call:
            call.talk()
            call.end()
        return bool(lines_with(relay, "has room again"))

    eventually(one_comes_through, "a new call succeeds, and the relay logs it")


@contextlib.contextmanager
def no_shard_fails(relay: Relay) -> Iterator[None]:
    """Within the context no shard ends, and no error is logged."""
    yield
    assert not lines_with(relay, "Traceback"), relay.program.output
    assert not lines_with(relay, "failed"), relay.program.output
    assert relay.stats().totals.restarts == 0, relay.program.output

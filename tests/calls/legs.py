"""Legs for tests: one announced endpoint, and sources of every rank against it."""

from nh.calls.leg import Leg
from nh.calls.media import Endpoint, Side
from nh.calls.source import SourcePolicy
from tests.calls.fakes import START, FakeSocket
from tests.calls.rtp import rtp_packet

ANNOUNCED = Endpoint("198.51.100.1", 4000)
EXACT = ANNOUNCED
SAME_IP = Endpoint("198.51.100.1", 5555)
SAME_IP_2 = Endpoint("198.51.100.1", 7777)
SAME_PORT = Endpoint("203.0.113.5", 4000)
SAME_PORT_2 = Endpoint("203.0.113.6", 4000)
ANY = Endpoint("203.0.113.5", 9999)
ANY_2 = Endpoint("203.0.113.6", 8888)
ANNOUNCED_V6 = Endpoint("2001:db8::1", 4000)

PACKET = memoryview(rtp_packet(1))
"""A packet that claims a leg."""

WINDOW_S = 3.0
HEURISTIC, FIRST = SourcePolicy.HEURISTIC, SourcePolicy.FIRST
BY_IP, STRICT = SourcePolicy.ANNOUNCED, SourcePolicy.STRICT


def make_leg(
    policy: SourcePolicy = HEURISTIC,
    announced: Endpoint | None = ANNOUNCED,
    *,
    receives: bool = True,
    window_s: float = WINDOW_S,
) -> Leg:
    return Leg(
        side=Side.FROM,
        socket=FakeSocket(Endpoint("192.0.2.1", 20_000)),
        announced=announced,
        receives=receives,
        policy=policy,
        window_ends=START + window_s,
    )

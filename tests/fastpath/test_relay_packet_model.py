"""Packets damaged at random: those that are not the flow's are untouched, the others rewritten right."""

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.fastpath.flows import IPV4, IPV6, Relayed
from tests.fastpath.frames import ETHERNET, frame_of
from tests.fastpath.kernel_relay import KernelRelay, Outcome, Verdict
from tests.fastpath.packet_model import comparable, rewritten, taken
from tests.profiles import examples

pytestmark = pytest.mark.kernel

SHORTEST = ETHERNET + 40
"""The kernel runs no program on frames that end within the IP header."""

DAMAGE = st.one_of(
    st.tuples(st.just("byte"), st.integers(0, 75), st.integers(0, 255)),
    st.tuples(st.just("bit"), st.integers(0, 75), st.integers(0, 7)),
    st.tuples(st.just("end"), st.integers(-150, 50), st.just(0)),
)


def damaged(frame: bytes, damage: list[tuple[str, int, int]]) -> bytes:
    new = bytearray(frame)
    for kind, where, what in damage:
        if kind == "byte":
            new[where % len(new)] = what
        elif kind == "bit":
            new[where % len(new)] ^= 1 << what
        elif where < 0:
            del new[max(len(new) + where, SHORTEST) :]
        else:
            new += bytes(where)
    return bytes(new)


@settings(
    max_examples=examples(2000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    relayed=st.sampled_from([IPV4, IPV6]),
    leave_rtcp=st.booleans(),
    damage=st.lists(DAMAGE, max_size=3),
)
def test_any_packet_is_taken_or_left_as_the_contract_says(
    kernel_relay: KernelRelay, relayed: Relayed, leave_rtcp: bool, damage: list[tuple[str, int, int]]
) -> None:
    relayed = relayed.but(tos=0xB8, leave_rtcp=leave_rtcp)
    kernel_relay.add(relayed.local, relayed.flow)
    frame = damaged(frame_of(relayed.packet), damage)
    outcome = kernel_relay.receive(frame)
    headers = taken(frame, relayed)
    event("left" if headers is None else "taken")
    if headers is None:
        assert outcome == Outcome(Verdict.LEFT_TO_SOCKETS, frame)
        return
    assert outcome.verdict is Verdict.SENT_ON
    checksums = (headers.udp_at + 6, ETHERNET + 10)[: 2 if headers.address_bytes == 4 else 1]
    expected = rewritten(frame, headers, relayed)
    assert comparable(outcome.frame, checksums) == comparable(expected, checksums)

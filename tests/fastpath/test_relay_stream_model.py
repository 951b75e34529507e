"""Random talk through the kernel, held against a plain model of the contract."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nh.calls.rtp.stream_state import NO_BAD_NEXT, StreamFields
from nh.fastpath.layout import FlowCounters
from tests.fastpath.flows import IPV4
from tests.fastpath.frames import rtp
from tests.fastpath.kernel_relay import KernelRelay
from tests.fastpath.stream_model import ModelCounters, ModelStream, RtpPacket
from tests.fastpath.talk import Talk
from tests.profiles import examples

pytestmark = pytest.mark.kernel

# A sender's next number is mostly the next one; the rest is what networks and restarts do to it.
STEPS = st.one_of(
    st.just(1),
    st.integers(-70, 70),
    st.sampled_from([2998, 2999, 3000, 3001, -63, -64, -65, 63, 64, 65, 32767, 32768, 30_000]),
    st.integers(0, 65535),
)
TALKS = st.lists(st.tuples(st.integers(1, 6), STEPS, st.sampled_from([0, 0, 0, 8, 101])), max_size=60)


def as_model(stream: StreamFields) -> ModelStream | None:
    if not stream.used:
        return None
    return ModelStream(
        ssrc=stream.ssrc,
        highest=stream.highest,
        payload_type=stream.payload_type,
        received={offset for offset in range(64) if stream.seen >> offset & 1},
        packets=stream.packets,
        lost=stream.lost,
        reordered=stream.reordered,
        duplicates=stream.duplicates,
        bad_next=None if stream.bad_next == NO_BAD_NEXT else stream.bad_next,
        reference=stream.timestamp if stream.arrival_ns else None,
    )


@settings(
    max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(start=st.integers(0, 65535), steps=TALKS)
def test_any_talk_is_counted_as_the_contract_says(
    kernel_relay: KernelRelay, start: int, steps: list[tuple[int, int, int]]
) -> None:
    talk = Talk(kernel_relay, IPV4)
    kernel_relay.set_counters(3, FlowCounters())
    model = ModelCounters(metered_payload_type=0)
    sequences: dict[int, int] = {}
    for number, (ssrc, step, payload_type) in enumerate(steps):
        sequences[ssrc] = (sequences.get(ssrc, start) + step) % 65536
        packet = RtpPacket(ssrc, sequences[ssrc], number * 160, payload_type)
        model.meet(packet)
        talk.say(rtp(packet.sequence, ssrc=ssrc, timestamp=packet.timestamp, payload_type=payload_type))
    assert [as_model(stream) for stream in talk.counters.streams] == model.places
    assert talk.counters.next_stream == model.next_place

"""nh.calls.latching.earlier: who is remembered at a port, and for how long."""

from hypothesis import given
from hypothesis import strategies as st

from nh.calls.latching.earlier import EARLIER_S, EarlierSenders
from nh.calls.media import Endpoint

PORTS = [Endpoint("192.0.2.1", port) for port in (20_000, 20_002, 20_004)]
PHONE = Endpoint("198.51.100.7", 4000)


def test_a_sender_whose_session_fell_silent_is_remembered_no_longer_than_one_whose_call_was_closed() -> None:
    senders = EarlierSenders()
    senders.add(PORTS[0], PHONE, frozenset(), call_id=b"closed", now=100.0)
    senders.add(PORTS[1], PHONE, frozenset(), call_id=b"silent", now=70.0)
    now = 70.0 + EARLIER_S
    assert senders.find(PORTS[0], call_id=b"next", now=now) is not None
    assert senders.find(PORTS[1], call_id=b"next", now=now) is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(PORTS),
            st.sampled_from([b"one", b"two"]),
            st.sampled_from([0.0, 30.0]),
            st.sampled_from([0.0, 7.5, EARLIER_S / 2, EARLIER_S]),
        ),
        max_size=30,
    )
)
def test_the_latest_sender_to_each_port_is_remembered_for_its_time(
    ends: list[tuple[Endpoint, bytes, float, float]],
) -> None:
    senders, latest, now = EarlierSenders(), dict[Endpoint, tuple[bytes, float]](), 1000.0
    for port, call_id, silent_s, passed_s in ends:
        senders.add(port, PHONE, frozenset(), call_id=call_id, now=now - silent_s)
        latest[port] = (call_id, now - silent_s + EARLIER_S)
        now += passed_s
        for each in PORTS:
            earlier, until = latest.get(each, (b"", 0.0))
            for asking in (b"one", b"two"):
                found = senders.find(each, call_id=asking, now=now)
                expected = earlier if until > now and earlier != asking else None
                assert (None if found is None else found.call_id) == expected

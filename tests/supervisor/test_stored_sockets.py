"""nh.supervisor.shards.stored_sockets: descriptors by where their sockets are bound."""

from hypothesis import given
from hypothesis import strategies as st

from nh.calls.media import Endpoint
from nh.supervisor.shards.stored_sockets import StoredSockets

ENDPOINTS = st.builds(
    Endpoint,
    st.sampled_from(["192.0.2.1", "2001:db8::1"]),
    st.sampled_from([1, 255, 256, 257, 30_000, 65_535]),
)


@given(st.lists(st.tuples(ENDPOINTS, st.integers(0, 2**31 - 1) | st.none())))
def test_it_is_a_mapping(changes: list[tuple[Endpoint, int | None]]) -> None:
    """None removes a socket; the supervisor removes one before it stores another one of the same port."""
    stored, expected = StoredSockets(), dict[Endpoint, int]()
    for endpoint, fd in changes:
        assert stored.pop(endpoint) == expected.pop(endpoint, None)
        if fd is not None:
            stored.add(endpoint, fd)
            expected[endpoint] = fd
        assert dict(stored) == expected
    for endpoint in expected:
        stored.pop(endpoint)
    assert not list(stored)

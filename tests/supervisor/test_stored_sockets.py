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
    """None removes a socket."""
    stored, expected = StoredSockets(), dict[Endpoint, int]()
    for endpoint, fd in changes:
        before = expected.pop(endpoint, None)
        if fd is None:
            assert stored.pop(endpoint) == before
        else:
            assert stored.put(endpoint, fd) == before
            expected[endpoint] = fd
        assert dict(stored) == expected
    for endpoint in expected:
        stored.pop(endpoint)
    assert not list(stored)

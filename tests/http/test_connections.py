"""nh.http.connections: which connection gives way where there are too many."""

import pytest

from nh.http import connections
from nh.http.connections import make_room


class FakeConnection:
    """A connection of uvicorn's, and its transport.

    Args:
        host: of its client.
        unread: bytes that its client has not read.
    """

    def __init__(self, host: str, unread: int = 0) -> None:
        self.client = (host, 1)
        self.transport = self
        self._unread = unread
        self._closing = False
        self.aborted = False

    def close(self) -> None:
        self._closing = True

    def abort(self) -> None:
        self.aborted = self._closing = True
        self._unread = 0

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return self._unread


def test_connections_that_end_when_their_client_has_read_are_its_share_and_give_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 8)
    rude = [FakeConnection("127.0.0.2", unread=100) for _ in range(6)]
    for each in rude:
        each.close()
    polite = [FakeConnection("127.0.0.3") for _ in range(2)]
    newcomers = [FakeConnection("127.0.0.4") for _ in range(2)]
    open_ = [*rude, *polite]
    for each in newcomers:
        open_.append(each)
        make_room(open_, each, lambda other: None if other.get_write_buffer_size() else 0.0)
    assert [each.aborted for each in open_].count(True) == 2
    assert [each.aborted for each in rude].count(True) == 2

"""A host without room for another client of the HTTP process: it waits, and the log says so once."""

import errno
import os
import selectors
import socket
from pathlib import Path

import httpx
import pytest

from tests.http.served import served
from tools.harness.waiting import eventually


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM], ids=errno.errorcode.get)
def test_a_client_for_which_there_is_no_room_is_served_later_and_the_log_says_so_once(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refused = iter(range(50))
    accept = socket.socket.accept

    def accept_later(self: socket.socket) -> tuple[socket.socket, object]:
        if next(refused, None) is not None:
            raise OSError(number, os.strerror(number))
        return accept(self)

    with served(tmp_path) as (host, port):
        monkeypatch.setattr(socket.socket, "accept", accept_later)
        assert httpx.get(f"http://{host}:{port}/api/openapi.json", timeout=30).status_code == 200
    assert next(refused, None) is None
    (line,) = [each for each in caplog.messages if os.strerror(number) in each]
    assert line.startswith("clients of HTTP have to wait: ")


def test_the_log_says_once_that_the_sockets_of_clients_cannot_be_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[int] = []
    register = selectors.EpollSelector.register

    def register_later(
        self: selectors.EpollSelector, fileobj: int, events: int, data: object = None
    ) -> selectors.SelectorKey:
        if len(refused) < 2:
            refused.append(fileobj)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return register(self, fileobj, events, data)

    with served(tmp_path) as address:
        url = f"http://{address[0]}:{address[1]}/api/openapi.json"
        assert httpx.get(url, timeout=30).status_code == 200
        monkeypatch.setattr(selectors.EpollSelector, "register", register_later)
        with socket.create_connection(address), socket.create_connection(address):
            eventually(lambda: len(refused) == 2, "nh has accepted both clients")
        assert httpx.get(url, timeout=30).status_code == 200
    assert [each for each in caplog.messages if "watched" in each or "callback" in each] == [
        "clients of HTTP are not served: their sockets cannot be watched; raise fs.epoll.max_user_watches"
    ]

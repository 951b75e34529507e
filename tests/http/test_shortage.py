"""A host without room for another client of the HTTP process: it waits, and the log says so once."""

import errno
import os
import socket
from pathlib import Path

import httpx
import pytest

from tests.http.served import served


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

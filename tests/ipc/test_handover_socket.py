"""nh.ipc.handover_socket: where a shard or supervisor waits for the next supervisor."""

import errno
import os
import socket
from pathlib import Path
from typing import NoReturn

import pytest

from nh.ipc.handover_socket import HandoverSocket, shards_listen


def test_a_process_without_descriptors_says_that_it_cannot_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as without:
        without.setattr(socket, "socket", refuse)
        assert HandoverSocket.open(str(tmp_path / "handover")) is None
    assert "cannot listen: Too many open files" in caplog.text

    listening = HandoverSocket.open(str(tmp_path / "handover"))
    assert listening is not None, "it can when there are descriptors again"
    listening.close()


def test_whether_shards_live_is_no_unless_their_sockets_say_so_or_cannot_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    assert not shards_listen(tmp_path / "nowhere")
    assert not shards_listen(tmp_path)
    with monkeypatch.context() as without:
        without.setattr(os, "scandir", refuse)
        assert shards_listen(tmp_path)
    listening = HandoverSocket.open(str(tmp_path / "shard-0-0badcafe.sock"))
    assert listening is not None
    assert shards_listen(tmp_path)
    with monkeypatch.context() as without:
        without.setattr(socket, "socket", refuse)
        assert shards_listen(tmp_path)
    listening.close()
    assert not shards_listen(tmp_path)

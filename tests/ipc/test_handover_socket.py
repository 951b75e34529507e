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


@pytest.mark.parametrize("replace", [False, True])
def test_a_socket_whose_file_another_program_removed_is_found_again(
    tmp_path: Path, replace: bool, caplog: pytest.LogCaptureFixture, no_descriptor_leaks: None
) -> None:
    path = tmp_path / "shard-0-0badcafe.sock"
    listening = HandoverSocket.open(str(path))
    assert listening is not None
    assert listening.is_in_place()
    path.unlink()
    if replace:
        path.write_text("what is this?")
    assert not listening.is_in_place()
    listening.listen_again()
    assert listening.is_in_place()
    assert "another program removed or replaced the socket" in caplog.text
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as successor:
        successor.connect(str(path))
        accepted = listening.accept()
        assert accepted is not None
        accepted.close()
    listening.close()
    assert not path.exists()


def test_a_socket_whose_directory_is_gone_stays_until_there_is_one_again(tmp_path: Path) -> None:
    path = tmp_path / "run" / "shard-0-0badcafe.sock"
    path.parent.mkdir()
    listening = HandoverSocket.open(str(path))
    assert listening is not None
    path.unlink()
    path.parent.rmdir()
    before = listening.fileno()
    listening.listen_again()
    assert listening.fileno() == before
    path.parent.mkdir()
    listening.listen_again()
    assert listening.is_in_place()
    listening.close()

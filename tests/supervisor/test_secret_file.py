"""nh.supervisor.host.secret_file: which files of secrets are read."""

import os
from pathlib import Path

import pytest

from nh.errors import ConfigError
from nh.supervisor.host.secret_file import MAX_SECRET_BYTES, read_secret

SECRET = "c0ffee-c0ffee-c0ffee"


def secret_file(directory: Path, content: bytes, mode: int = 0o600) -> Path:
    path = directory / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_the_secret_is_the_line(tmp_path: Path, end: str, mode: int) -> None:
    assert read_secret("key", secret_file(tmp_path, f"{SECRET}{end}".encode(), mode)) == SECRET


def test_a_link_to_a_private_file_is_followed(tmp_path: Path) -> None:
    secret_file(tmp_path, SECRET.encode())
    link = tmp_path / "link"
    link.symlink_to("secret")
    assert read_secret("key", link) == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_that_is_open_to_others_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, SECRET.encode(), mode)
    with pytest.raises(ConfigError, match=rf"key: .* \(mode {mode:04o}\); chmod 600 {path}") as refusal:
        read_secret("key", path)
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"two\nlines of text", "geheim é".encode(), b"\x00" * 20, b"x" * (MAX_SECRET_BYTES + 1)],
)
def test_what_is_no_line_of_text_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ConfigError, match="is not one line of printable ASCII"):
        read_secret("key", secret_file(tmp_path, content))


def test_what_is_no_file_is_refused_and_a_fifo_blocks_nothing(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    for path in (fifo, tmp_path):
        with pytest.raises(ConfigError, match="is not a regular file"):
            read_secret("key", path)
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory; the user of nh"):
        read_secret("key", tmp_path / "gone")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's file")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = secret_file(tmp_path, SECRET.encode())
    os.chown(path, 12345, -1)
    with pytest.raises(ConfigError, match="belongs to another user"):
        read_secret("key", path)

"""The handover socket of a shard that outlives its supervisor, without the shard."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def orphan_socket(directory: Path) -> Iterator[None]:
    """A socket in a runtime directory that listens within the block; its file stays, as behind a kill."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(str(directory / "shard-0-0badcafe.sock"))
        sock.listen(1)
        yield

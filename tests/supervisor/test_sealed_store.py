"""Stored calls that are encrypted, and calls with keys of SRTP that a server does not get without a key."""

import logging
from pathlib import Path

import pytest

from nh.calls.snapshots.version import SECRETS, VERSION
from nh.errors import ConfigError
from nh.supervisor.store.engine import StoreDamaged, StoredCall, StoreRefused
from nh.supervisor.store.sealed import SealedEngine, read_state_key
from tests.supervisor.stores import MemoryEngine, MemoryServer

KEY = bytes(range(32))
PLAIN = StoredCall(b"plain", bytes((VERSION,)) + b"snapshot of a plain call", 1.0)
SECURE = StoredCall(b"secure", bytes((VERSION | SECRETS,)) + b"snapshot with a master key", 2.0)
BOTH = {call.call_id: call for call in (PLAIN, SECURE)}


def engine(server: MemoryServer, key: bytes | None = KEY, *, remote: bool = True) -> SealedEngine:
    return SealedEngine(MemoryEngine(server), key, remote=remote)


@pytest.fixture
def server() -> MemoryServer:
    """A server that has both calls, encrypted."""
    server = MemoryServer()
    writer = engine(server)
    assert writer.open() == []
    writer.write(BOTH)
    writer.close()
    return server


def stored(server: MemoryServer) -> dict[bytes, StoredCall]:
    assert server.records is not None
    return server.records


def by_age(calls: object) -> list[StoredCall]:
    assert isinstance(calls, list | tuple)
    return sorted(calls, key=lambda call: call.written_at)


def test_calls_come_back_as_they_were_and_nothing_of_them_is_in_the_store(server: MemoryServer) -> None:
    seen = b"".join(call.snapshot for call in stored(server).values())
    assert not any(call.snapshot[1:9] in seen for call in BOTH.values())
    assert by_age(engine(server).open()) == [PLAIN, SECURE]


def test_a_call_is_never_encrypted_twice_in_the_same_way() -> None:
    server = MemoryServer()
    writer = engine(server)
    writer.open()
    seen = set()
    for _ in range(3):
        writer.write({b"plain": PLAIN})
        seen.add(stored(server)[b"plain"].snapshot)
    assert len(seen) == 3


@pytest.mark.parametrize(("key", "why"), [(None, "--state-key-file"), (bytes(32), "another key")])
def test_a_store_with_another_key_is_refused(server: MemoryServer, key: bytes | None, why: str) -> None:
    with pytest.raises(StoreRefused, match=why):
        engine(server, key).open()


def test_a_call_cannot_be_put_in_the_place_of_another(server: MemoryServer) -> None:
    records = stored(server)
    records[b"plain"] = StoredCall(b"plain", records[b"secure"].snapshot, 1.0)
    with pytest.raises(StoreRefused):
        engine(server).open()


def test_what_was_stored_before_there_was_a_key_is_read() -> None:
    server = MemoryServer()
    plain = engine(server, None, remote=False)
    plain.open()
    plain.write(BOTH)
    assert stored(server) == BOTH
    plain.close()
    assert by_age(engine(server).open()) == [PLAIN, SECURE]


def test_what_is_left_of_a_damaged_store_is_decrypted(server: MemoryServer) -> None:
    server.damage = "is damaged"
    with pytest.raises(StoreDamaged) as caught:
        engine(server).open()
    assert by_age(caught.value.calls) == [PLAIN, SECURE]


def test_a_server_gets_no_keys_of_srtp_without_a_key(caplog: pytest.LogCaptureFixture) -> None:
    server = MemoryServer()
    writer = engine(server, None)
    writer.open()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            writer.write(BOTH)
    assert stored(server) == {b"plain": PLAIN}
    assert len(caplog.records) == 1
    # a call that gets keys later is removed
    writer.write({b"plain": StoredCall(b"plain", SECURE.snapshot, 3.0)})
    assert stored(server) == {}


def test_the_key_file_is_private_and_long(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("short")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="fewer than 32 characters"):
        read_state_key(str(file))
    file.write_text("a" * 32)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="open to other users"):
        read_state_key(str(file))
    file.chmod(0o600)
    key = read_state_key(str(file))
    assert key is not None
    assert len(key) == 32
    assert read_state_key("") is None

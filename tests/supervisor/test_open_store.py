"""Which store the setting `state` names, who may have it, and what happens if it cannot be used."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from nh.config import Settings
from nh.config.table import StateAway
from nh.errors import ConfigError, DirectoryInUse, NotNow, StoreUnavailable
from nh.supervisor.store.open import (
    STORE_NAME,
    StateKey,
    WantedGroup,
    followers,
    locate,
    open_store,
    state_key,
)
from nh.supervisor.store.store import Store
from tests.descriptors import descriptors_here
from tests.no_threads import no_threads
from tests.supervisor.stores import MemoryEngine, MemoryServer, file_system


@pytest.fixture
def default_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default state directory, for a user who is not root."""
    monkeypatch.setattr("nh.config.settings._default_state_path", lambda: tmp_path / "default")
    monkeypatch.setattr("nh.config.settings.default_runtime_path", lambda: tmp_path / "run")
    return tmp_path / "default"


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A directory in which nothing can be made, not even by root."""
    with file_system(tmp_path / "read-only", "ro,mode=700") as where:
        yield where


def settings_in(state: Path | str) -> Settings:
    return Settings(state=str(state), runtime_dir="/run/test")


def test_calls_are_there_again_at_the_next_start(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with open_store(settings_in(state)) as (store, _):
        assert store is not None
        store.put(b"a", b"1")
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert {file.name for file in state.iterdir()} == {STORE_NAME, "nh.lock"}
    with open_store(settings_in(state)) as (store, _):
        assert store is not None
        assert [call.call_id for call in store.load()] == [b"a"]


def test_a_store_without_a_thread_is_closed_again_and_has_its_calls(tmp_path: Path) -> None:
    """`nh run` says which limit to raise, and a service manager starts it again."""
    settings = structs.replace(settings_in(tmp_path / "state"), runtime_dir=str(tmp_path))
    with open_store(settings) as (store, _):
        assert store is not None
        store.put(b"a", b"1")
    before = descriptors_here()
    with (
        no_threads("store"),
        pytest.raises(OSError, match="no thread can be started"),
        open_store(settings),
    ):
        pass
    assert descriptors_here() == before
    with open_store(settings) as (store, _):
        assert store is not None
        assert [call.call_id for call in store.load()] == [b"a"]


def test_a_store_without_a_thread_leaves_the_calls_to_others_at_once(tmp_path: Path) -> None:
    """The group of a server would be this relay's until its lease ends."""
    engine = MemoryEngine(MemoryServer())
    with no_threads("store"), pytest.raises(OSError, match="no thread can be started"):
        Store(engine, tmp_path)
    with pytest.raises(StoreUnavailable, match="not open"):
        engine.flush()


def test_a_key_file_that_is_replaced_during_the_start_changes_nothing(tmp_path: Path) -> None:
    """The key of the store is the one that nh says it has (nh.supervisor.settings_in_force)."""
    file = tmp_path / "key"
    settings = structs.replace(settings_in(tmp_path / "state"), state_key_file=str(file))
    first = key_in(file, settings, "first")
    second = key_in(file, settings, "other")
    assert first.check != second.check
    with open_store(settings, key=first) as (store, _):
        assert store is not None
        store.put(b"a", b"1")
    with pytest.raises(ConfigError, match="another key"), open_store(settings):
        pass
    with open_store(settings, key=first) as (store, _):
        assert store is not None
        assert [call.call_id for call in store.load()] == [b"a"]


def key_in(file: Path, settings: Settings, word: str) -> StateKey:
    file.write_text(word * 32)
    file.chmod(0o600)
    return state_key(settings)


def test_the_default_directory_is_used_if_none_is_named(default_state: Path, tmp_path: Path) -> None:
    with open_store(Settings(runtime_dir=str(tmp_path / "run"))) as (store, _):
        assert store is not None
        assert (default_state / STORE_NAME).exists()


def test_relays_with_different_runtime_directories_have_different_defaults(
    default_state: Path, tmp_path: Path
) -> None:
    first, second = (Settings(runtime_dir=str(tmp_path / name)) for name in ("run", "run2"))
    with open_store(first) as (one, _), open_store(second) as (two, _):
        assert one is not None
        assert two is not None
        one.put(b"a", b"1")
    with open_store(second) as (two, _):
        assert two is not None
        assert two.load() == []


def test_state_off_is_no_store(default_state: Path) -> None:
    with open_store(settings_in("off")) as (store, _):
        assert store is None
    assert not default_state.exists()


def test_a_second_nh_on_a_state_directory_is_refused_with_the_pid_of_the_first(
    tmp_path: Path, default_state: Path
) -> None:
    for settings in (settings_in(tmp_path / "state"), Settings(runtime_dir=str(tmp_path / "run"))):
        with (
            open_store(settings),
            pytest.raises(DirectoryInUse, match=rf"^state: another nh \(pid {os.getpid()}\).*--state"),
            open_store(settings),
        ):
            pass


def test_a_named_directory_that_is_read_only_is_an_error(read_only: Path) -> None:
    for state in (read_only, read_only / "below"):
        with (
            pytest.raises(ConfigError, match=r"^state: .*Read-only file system.*--no-state"),
            open_store(settings_in(state)),
        ):
            pass


def test_a_named_directory_that_is_a_file_or_anybodys_is_an_error(tmp_path: Path) -> None:
    file, open_to_all = tmp_path / "file", tmp_path / "open"
    file.touch()
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    for state, why in ((file, "is not a directory"), (open_to_all, "have calls of theirs restored")):
        with pytest.raises(ConfigError, match=f"^state: .*{why}"), open_store(settings_in(state)):
            pass


def test_without_a_default_directory_that_can_be_used_one_line_says_so_and_nh_runs(
    default_state: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    default_state.touch()
    with open_store(Settings(runtime_dir=str(tmp_path / "run"))) as (store, _):
        assert store is None
    (line,) = caplog.messages
    assert line.startswith("state: calls are not stored")
    assert str(default_state) in line
    assert "--no-state" in line


def test_what_follows_is_not_taken_for_an_error_of_the_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^of the caller$"), open_store(settings_in(tmp_path)):
        raise ConfigError("of the caller")


def test_the_scheme_of_a_url_chooses_the_engine(tmp_path: Path) -> None:
    with open_store(settings_in(f"sqlite://{tmp_path / 'state'}")) as (store, lock):
        assert store is not None
        assert lock is not None
    assert (tmp_path / "state" / STORE_NAME).exists()
    with (
        pytest.raises(ConfigError, match=r"^state: there is no store for elsewhere://;.*sqlite://"),
        open_store(settings_in("elsewhere://host:1234")),
    ):
        pass


def test_a_standby_needs_calls_on_a_server(tmp_path: Path) -> None:
    for state in (str(tmp_path), "off", ""):
        with pytest.raises(ConfigError, match=r"^standby: .*--state valkey://"):
            locate(Settings(state=state, standby=True, runtime_dir="/run/test"))


@pytest.mark.valkey
def test_a_standby_without_a_key_that_can_be_used_does_not_start(tmp_path: Path) -> None:
    """It would learn so when it is to take the calls over."""
    settings = Settings(
        state="valkey://127.0.0.1:1/0",
        standby=True,
        runtime_dir=str(tmp_path),
        state_key_file=str(tmp_path / "missing.key"),
    )
    with pytest.raises(ConfigError, match=r"^state_key_file: .*cannot be read"):
        followers(settings, state_key(settings))


def test_a_standby_does_not_get_calls_from_a_server_that_is_away(tmp_path: Path) -> None:
    """Not even if the relay would start without the server: another standby may have them."""
    settings = Settings(state="valkey://127.0.0.1:1/0", standby=True, runtime_dir=str(tmp_path))
    assert settings.state_away is StateAway.TAKE
    found = followers(settings, state_key(settings))
    assert found is not None
    (follower,) = found
    group = WantedGroup(follower.group, follower)
    with pytest.raises(NotNow), open_store(settings, group=group):
        pass

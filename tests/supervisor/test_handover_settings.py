"""Settings in force that a supervisor hands over to itself."""

from pathlib import Path

import msgspec
import pytest

from nh.config import Settings
from nh.config.sources import LoadedSettings
from nh.errors import ConfigError
from nh.supervisor.handover.settings import decode_settings, encode_settings
from nh.supervisor.host.secret_file import read_secret

STORE = "valkey://nh:hunter2@127.0.0.1/0?prefix=pair"


@pytest.mark.parametrize("file", [None, Path("nh.toml")])
def test_settings_stay_as_they_are_with_their_secrets_and_origins(file: Path | None) -> None:
    settings = Settings(state=STORE, silent_s=60.0, address="127.0.0.1", ng=("127.0.0.1:2223",))
    loaded = LoadedSettings(settings, {"silent_s": "nh log", "state": "nh.toml:1"}, file)
    assert decode_settings(encode_settings(loaded)) == loaded


def test_secrets_that_were_read_from_files_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_read", "_handed_over"):
        monkeypatch.setattr(f"nh.supervisor.host.secret_file.{name}", {})
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text("hunter2")
    assert read_secret("key", path) == "hunter2"
    content = encode_settings(LoadedSettings(Settings(), {}, None))
    path.unlink()
    with pytest.raises(ConfigError):
        read_secret("key", path)
    assert decode_settings(content) is not None
    assert read_secret("key", path) == "hunter2"


def test_where_none_were_handed_over_they_are_read() -> None:
    assert decode_settings(b"") is None


def test_settings_that_another_release_does_not_accept_are_read_and_not_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = msgspec.to_builtins(Settings(state=STORE)) | {"silent_s": "hunter2"}
    assert decode_settings(msgspec.msgpack.encode({"settings": settings, "origins": {}, "file": ""})) is None
    assert "does not accept the settings in force" in caplog.text
    assert "hunter2" not in caplog.text

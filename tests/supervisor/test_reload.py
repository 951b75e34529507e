"""nh.supervisor.reload: what changes at run time reaches every shard, and everything else is named."""

import logging
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest

from nh.calls.settings import RelaySettings
from nh.config import Settings
from nh.config.sources import LoadedSettings
from nh.errors import ConfigError, Refused
from nh.ipc.link_messages import Reconfigure
from nh.logs.settings import LogLevel, LogSettings
from nh.results import LogState, Reloaded
from nh.stats import SupervisorStats
from nh.supervisor.host.fd_limits import holdable_sockets
from nh.supervisor.host.locked_dir import LOCK_NAME
from nh.supervisor.reload import CHANGEABLE, RETRY_S, Reloader
from nh.supervisor.runtime import Runtime
from nh.supervisor.settings_in_force import RUN_TIME, SettingsInForce, read_in_force
from nh.supervisor.shards.fd_budget import FdBudget
from nh.supervisor.shards.watchdog import Watchdog
from tests.config.test_settings import REFERENCE
from tests.supervisor.fake_slots import slots_that_are_up
from tests.supervisor.manual_loop import ManualLoop

SHARDS = 2
DESCRIPTORS = 10_000


class FakeRpc:
    limits: tuple[float, int] = (300.0, 4096)

    def change_limits(self, idle_client_s: float, max_clients: int) -> None:
        self.limits = idle_client_s, max_clients


class FakeHttp:
    log = LogSettings()

    def change_log(self, log: LogSettings) -> None:
        self.log = log


class FakeRecords:
    reopened = 0

    def reopen(self) -> None:
        self.reopened += 1


class ReloadTestbed:
    """A reloader over shards that the test plays; `sources` is what it reads next."""

    def __init__(self, runtime_dir: Path) -> None:
        self.loop = ManualLoop()
        self.slots = slots_that_are_up(self.loop, SupervisorStats().shards[:SHARDS])
        self.rpc = FakeRpc()
        self.http = FakeHttp()
        self.records = FakeRecords()
        self.budget = FdBudget(holdable_sockets(DESCRIPTORS, Settings(), SHARDS))
        self.watchdog = Watchdog(self.loop, self.slots, hang_s=3.0)
        self.sources = Settings(runtime_dir=str(runtime_dir))
        self.in_force = SettingsInForce(LoadedSettings(self.sources, {}), SHARDS)
        runtime = SimpleNamespace(
            loop=self.loop,
            settings=self.sources,
            descriptors=DESCRIPTORS,
            rpc=self.rpc,
            http=self.http,
            records=self.records,
            in_force=self.in_force,
        )
        self.reloader = Reloader(
            cast(Runtime, runtime),
            self.slots,
            budget=self.budget,
            watchdog=self.watchdog,
            reread=self.reread,
        )
        self.bad = ""
        self.origins = {"silent_s": "/etc/nh.toml:1"}
        self.without_effect: dict[str, tuple[str, ...]] = {}

    def reread(self) -> LoadedSettings:
        if self.bad:
            raise ConfigError(self.bad)
        return LoadedSettings(self.sources, self.origins, None, self.without_effect)

    def reload(self, **changes: object) -> Reloaded:
        self.sources = msgspec.structs.replace(self.sources, **changes)
        return self.reloader.reload()

    def sent(self, shard: int) -> list[Reconfigure]:
        return [each for _, each in self.slots[shard].told if isinstance(each, Reconfigure)]


@pytest.fixture
def testbed(tmp_path: Path) -> Iterator[ReloadTestbed]:
    level = logging.getLogger().level
    (tmp_path / LOCK_NAME).touch()
    yield ReloadTestbed(tmp_path)
    logging.getLogger().setLevel(level)


def test_what_is_in_force_is_told_with_where_it_came_from(testbed: ReloadTestbed, tmp_path: Path) -> None:
    testbed.reload(silent_s=60.0, shards=3)
    testbed.reloader.set_log(LogLevel.DEBUG, "")
    told = read_in_force(tmp_path)
    assert told is not None
    assert told.settings["silent_s"] == 60.0
    assert told.settings["log_level"] == "debug"
    assert told.settings["shards"] == 0, "that takes an upgrade"
    assert told.origins == {"silent_s": "/etc/nh.toml:1", "log_level": RUN_TIME, "log_areas": RUN_TIME}
    assert testbed.in_force.loaded.settings.silent_s == 60.0
    assert testbed.in_force.loaded.origins == told.origins


def test_what_is_in_force_is_told_after_the_clock_was_set_back(
    testbed: ReloadTestbed, tmp_path: Path
) -> None:
    """As on a host whose clock is wrong until it has the time of a server, which is after the start of nh."""
    later_ns = time.time_ns() + 3600 * 10**9
    os.utime(tmp_path / LOCK_NAME, ns=(later_ns, later_ns))
    testbed.reload(silent_s=60.0)
    told = read_in_force(tmp_path)
    assert told is not None
    assert told.settings["silent_s"] == 60.0


def test_what_is_in_force_is_told_once_there_is_room(
    testbed: ReloadTestbed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    obstacle = tmp_path / "settings.new" / "x"
    obstacle.mkdir(parents=True)
    testbed.reload(silent_s=60.0)
    for _ in range(2):
        testbed.in_force.write_again()
        assert read_in_force(tmp_path) is None, "what was in force before is not told, either"
    assert caplog.text.count("settings.json cannot be written") == 1
    obstacle.rmdir()
    obstacle.parent.rmdir()
    testbed.in_force.write_again()
    told = read_in_force(tmp_path)
    assert told is not None
    assert told.settings["silent_s"] == 60.0


def test_what_is_in_force_is_told_again_if_the_file_was_removed(
    testbed: ReloadTestbed, tmp_path: Path
) -> None:
    before = read_in_force(tmp_path)
    (tmp_path / "settings.json").unlink()
    testbed.in_force.write_again()
    assert before is not None
    assert read_in_force(tmp_path) == before


def test_nothing_new_changes_nothing(testbed: ReloadTestbed) -> None:
    assert testbed.reload() == Reloaded((), ())
    assert not testbed.sent(0)


def test_rules_and_limits_reach_every_shard_which_has_its_share(testbed: ReloadTestbed) -> None:
    assert testbed.reload(silent_s=60.0, max_calls=11) == Reloaded(("silent_s", "max_calls"), ())
    for shard in range(SHARDS):
        (message,) = testbed.sent(shard)
        assert message.relay == RelaySettings(silent_s=60.0, max_calls=6)
    assert testbed.reload() == Reloaded((), ()), "the settings in force are compared"


def test_what_needs_an_upgrade_is_named_every_time(testbed: ReloadTestbed) -> None:
    assert testbed.reload(shards=4, silent_s=60.0) == Reloaded(("silent_s",), ("shards",))
    assert testbed.reload() == Reloaded((), ("shards",))


def test_a_directory_in_which_no_call_would_be_found_needs_a_restart(
    testbed: ReloadTestbed, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    reloaded = testbed.reload(runtime_dir=str(other), shards=4)
    assert reloaded == Reloaded((), ("shards",), ("runtime_dir",))
    assert list(reloaded.lines()) == [
        "nothing to apply",
        "`nh upgrade` applies: shards",
        "a restart of nh applies: runtime_dir",
    ]
    assert testbed.reloader.why_no_upgrade().startswith(f"runtime_dir: {other} is not {tmp_path}, where ")
    other.symlink_to(tmp_path)
    assert testbed.reloader.why_no_upgrade() == "", "it is the same one by another name"


def test_a_loop_of_symbolic_links_is_another_runtime_directory(
    testbed: ReloadTestbed, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.symlink_to(other)
    testbed.reload(runtime_dir=str(other))
    assert testbed.reloader.why_no_upgrade().startswith(f"runtime_dir: {other} is not {tmp_path}, where ")


def test_a_value_of_the_file_that_something_goes_before_is_named(testbed: ReloadTestbed) -> None:
    testbed.without_effect = {"silent_s": ("/etc/nh.toml:1",), "dscp": ("environment",)}
    testbed.origins = {"silent_s": "environment", "dscp": "command line"}
    reloaded = testbed.reload()
    assert reloaded == Reloaded((), (), (), {"silent_s": "environment"})
    assert list(reloaded.lines()) == [
        "nothing to apply",
        "silent_s of the file has no effect: the environment of nh has another value",
    ]


def test_the_installed_code_judges_settings_that_this_one_cannot_use(testbed: ReloadTestbed) -> None:
    testbed.bad = "/etc/nh.toml:1: 'of_the_next_release' is no setting"
    assert testbed.reloader.why_no_upgrade() == ""


def test_limits_of_the_supervisor_change(testbed: ReloadTestbed) -> None:
    testbed.reload(idle_client_s=10.0, max_clients=5, hang_s=7.0)
    assert testbed.rpc.limits == (10.0, 5)
    assert testbed.watchdog.hang_s == 7.0


def test_connections_and_sockets_that_are_held_share_the_descriptors(
    testbed: ReloadTestbed,
) -> None:
    def room() -> int:
        return sum(iter(testbed.budget.take, False))

    before = room()
    assert before == holdable_sockets(DESCRIPTORS, Settings(), SHARDS)
    testbed.reload(max_clients=Settings().max_clients - 100)
    assert room() == 100, "what clients leave is for sockets"
    testbed.reload(max_clients=Settings().max_clients)
    testbed.budget.give_back()
    assert room() == 0, "sockets beyond the new limit stay, and no further one is held"
    for _ in range(100):
        testbed.budget.give_back()
    assert room() == 1


def test_a_shard_that_does_not_read_gets_the_settings_later(testbed: ReloadTestbed) -> None:
    testbed.slots[1].deaf = True
    testbed.reload(silent_s=60.0)
    assert (len(testbed.sent(0)), len(testbed.sent(1))) == (1, 0)
    testbed.slots[1].deaf = False
    testbed.loop.advance(RETRY_S)
    assert len(testbed.sent(1)) == 1


def test_a_shard_that_was_starting_meanwhile_gets_the_settings_when_it_is_up(testbed: ReloadTestbed) -> None:
    testbed.slots[0].report_exit("killed")
    testbed.slots[0].start()
    testbed.reload(silent_s=60.0)
    before = len(testbed.sent(0))
    testbed.slots[0].report_ready()
    assert [message.relay.silent_s for message in testbed.sent(0)[before:]] == [60.0]


def test_a_setting_that_cannot_be_used_changes_nothing(
    testbed: ReloadTestbed, caplog: pytest.LogCaptureFixture
) -> None:
    testbed.bad = "nh.toml:3: silent_s: 'x' is not a span of time"
    with pytest.raises(Refused, match=r"^nh.toml:3: silent_s: .*; all settings stay as they are"):
        testbed.reload(max_calls=3)
    assert caplog.messages == [f"reload: {testbed.bad}; all settings stay as they are"]
    assert not testbed.sent(0)


def test_files_of_records_are_opened_anew_even_if_a_setting_cannot_be_used(testbed: ReloadTestbed) -> None:
    testbed.reload()
    assert testbed.records.reopened == 1
    testbed.bad = "nh.toml:3: silent_s: 'x' is not a span of time"
    with pytest.raises(Refused):
        testbed.reload()
    assert testbed.records.reopened == 2, "logrotate does not wait for the operator"


def test_levels_of_the_log_hold_until_the_next_reload(testbed: ReloadTestbed) -> None:
    set_log = testbed.reloader.set_log
    assert set_log(None, "") == LogState(LogLevel.INFO, {})
    assert set_log(LogLevel.DEBUG, "rpc") == LogState(LogLevel.INFO, {"rpc": LogLevel.DEBUG})
    assert set_log(LogLevel.ERROR, "media").areas == {"rpc": LogLevel.DEBUG, "media": LogLevel.ERROR}
    assert testbed.sent(0)[-1].log.areas == {"rpc": LogLevel.DEBUG, "media": LogLevel.ERROR}
    assert testbed.http.log == testbed.sent(0)[-1].log
    assert set_log(LogLevel.WARNING, "") == LogState(LogLevel.WARNING, {})
    assert testbed.reload() == Reloaded(("log_level",), ())
    assert set_log(None, "") == LogState(LogLevel.INFO, {})


def test_an_area_that_the_log_does_not_have_is_refused(testbed: ReloadTestbed) -> None:
    with pytest.raises(Refused, match="the log has no area 'weather'; areas are calls, media"):
        testbed.reloader.set_log(LogLevel.DEBUG, "weather")


def test_the_reference_lists_the_settings_that_change_at_run_time() -> None:
    section = REFERENCE.read_text().partition("## Change settings at run time")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("| ")]
    assert sorted(re.findall(r"`(\w+)`", "".join(table))) == sorted(CHANGEABLE)

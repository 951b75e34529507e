"""From one version of nh to another and back, with calls: what they read of each other, and what not."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from nh.calls.snapshots.version import READABLE, VERSION
from nh.client import NativeClient
from nh.commands import Ping
from tests.profiles import quick_first
from tests.survival.speech import Speech
from tests.survival.versions import Version, Versions
from tools.harness.command import nh, nh_ok
from tools.harness.deployment import SHARDS, Deployment, assert_goes_on, calls_of, has_ended
from tools.harness.relay import place_for_relay
from tools.harness.waiting import TIMEOUT_S, eventually

CALLS = 4
VERSION_FILE = "nh/calls/snapshots/version.py"


class Host:
    """A host with nh 1.0.0 installed and running."""

    def __init__(self, versions: Versions, deployment: Deployment) -> None:
        self.versions = versions
        self.deployment = deployment
        self.old = versions.make("1.0.0")
        versions.install(self.old)
        deployment.start()
        assert self.answering_version() == "1.0.0"

    def make_new(self) -> Version:
        """nh 2.0.0, to be changed and installed."""
        return self.versions.make("2.0.0")

    def answering_version(self) -> str:
        with NativeClient(self.deployment.address, TIMEOUT_S) as client:
            return client.request(Ping()).version


@contextlib.contextmanager
def running_host(directory: Path, **settings: object) -> Iterator[Host]:
    versions = Versions(directory)
    with place_for_relay() as place:
        deployment = Deployment(place, settings, options=("-P",), environment=versions.environment)
        with contextlib.closing(deployment):
            yield Host(versions, deployment)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with running_host(tmp_path) as host:
        yield host


@pytest.fixture
def host_without_zygote(tmp_path: Path) -> Iterator[Host]:
    with running_host(tmp_path, prefork=0) as host:
        yield host


def add_a_field(version: Version) -> None:
    """To what is known of a call and of a leg, as a new version may: at the end, with a default."""
    version.change(
        "nh/calls/snapshots/call.py",
        "\n    def check(self) -> None:",
        '    mood: str = "fine"\n\n    def check(self) -> None:',
    )
    version.change(
        "nh/calls/snapshots/leg.py",
        "\n    @classmethod\n    def take(cls, leg: Leg,",
        "    colour: int = 7\n\n    @classmethod\n    def take(cls, leg: Leg,",
    )


def add_statistics(version: Version) -> None:
    """A name in one module of the statistics that another one needs: a process cannot have both versions."""
    version.append("nh/stats/layout.py", "\n\nNEWER: Final = 1\n")
    version.change(
        "nh/stats/reading.py",
        "from nh.stats.layout import (",
        "from nh.stats.layout import (\n    NEWER,",
    )


def count_more(version: Version) -> None:
    """Other tables of statistics: a counter and a gauge more, in the midst of each table."""
    version.change(
        "nh/stats/layout.py",
        "\n    bytes_in: int = counter(",
        '\n    newer: int = counter("what nh 2 counts", "packets")\n    bytes_in: int = counter(',
    )
    version.change(
        "nh/stats/layout.py",
        "\n    rpc_clients: int = gauge(",
        '\n    mood: str = text("how nh 2 feels", 8)\n    rpc_clients: int = gauge(',
    )


def read_no_old_snapshots(version: Version) -> None:
    version.change(VERSION_FILE, f"VERSION: Final = {VERSION}", f"VERSION: Final = {VERSION + 1}")
    version.change(VERSION_FILE, f"READABLE: Final = {READABLE}", f"READABLE: Final = ({VERSION + 1},)")


def test_calls_go_on_in_the_next_version_and_back_in_the_one_before(host: Host) -> None:
    calls = host.deployment.make_calls(CALLS)
    new = host.make_new()
    add_a_field(new)
    add_statistics(new)
    for version in (new, host.old):
        before = [host.deployment.relay.call(call.call_id) for call in calls]
        host.versions.install(version)
        assert (
            f"nh {version.name} runs with {SHARDS} shards" in nh_ok(host.deployment.place, "upgrade").stdout
        )
        assert host.answering_version() == version.name
        for call, then in zip(calls, before, strict=True):
            assert_goes_on(then, host.deployment.relay.call(call.call_id))
            call.talk()
        calls.append(host.deployment.make_call(b"of " + version.name.encode()))
    assert not any("nh was upgraded" in line for line in host.deployment.relay.program.lines)
    assert [call.end() for call in calls] == [1] * len(calls)


def test_an_upgrade_to_a_version_that_does_not_read_the_calls_is_refused(host: Host) -> None:
    calls = host.deployment.make_calls(CALLS)
    new = host.make_new()
    read_no_old_snapshots(new)
    host.versions.install(new)
    shards = host.deployment.relay.shard_processes()
    result = nh(host.deployment.place, "upgrade")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        f"nh: everything stays as it is: nh 2.0.0 does not read the calls of this one (version {VERSION})"
    )
    assert host.answering_version() == "1.0.0"
    assert host.deployment.relay.shard_processes() == shards
    for call in calls:
        call.talk()


@pytest.mark.full
def test_shards_whose_calls_are_not_read_are_left_alone_until_their_version_is_back(host: Host) -> None:
    deployment = host.deployment
    calls = deployment.make_calls(CALLS)
    before = [deployment.relay.call(call.call_id) for call in calls]
    new = host.make_new()
    read_no_old_snapshots(new)
    host.versions.install(new)
    shards = deployment.kill_supervisor()
    relay = deployment.start()
    assert relay.program.output.count(f"in a format that this nh does not read (version {VERSION})") == SHARDS
    assert host.answering_version() == "2.0.0"
    assert not relay.calls().calls
    fresh = [deployment.make_call(b"new %d" % number) for number in range(CALLS)]
    taken = {call.for_alice for call in calls} | {call.for_bob for call in calls}
    assert not taken & ({call.for_alice for call in fresh} | {call.for_bob for call in fresh})
    for call in (*calls, *fresh):
        call.talk()
    assert [call.end() for call in fresh] == [1] * CALLS
    assert relay.program.stop() == 0
    assert not any(map(has_ended, shards))

    host.versions.install(host.old)
    relay = deployment.start()
    assert host.answering_version() == "1.0.0"
    for call, then in zip(calls, before, strict=True):
        assert_goes_on(then, relay.call(call.call_id))
        call.talk()
        assert call.end() == 1
    eventually(lambda: all(map(has_ended, shards)), "the shards that were left have ended")


def test_a_shard_that_dies_after_a_new_version_was_installed_goes_on_as_that_version(
    host_without_zygote: Host,
) -> None:
    deployment = host_without_zygote.deployment
    calls = deployment.make_calls(CALLS)
    before = [deployment.relay.call(call.call_id) for call in calls]
    packets = deployment.stats().totals.packets_in
    new = host_without_zygote.make_new()
    add_a_field(new)
    add_statistics(new)
    count_more(new)
    host_without_zygote.versions.install(new)
    deployment.relay.shard_processes()[0].kill()
    deployment.relay.program.wait_for_line("shard 0 runs nh 2.0.0, the supervisor nh 1.0.0")
    for call, then in zip(calls, before, strict=True):
        assert_goes_on(then, deployment.relay.call(call.call_id))
        call.talk()
    eventually(lambda: deployment.stats().totals.packets_in > packets, "the counters go on")
    assert "nh 2.0.0 runs" in nh_ok(deployment.place, "upgrade").stdout
    assert host_without_zygote.answering_version() == "2.0.0"
    for call in calls:
        call.talk()
    assert deployment.stats().totals.packets_in > packets
    assert [call.end() for call in calls] == [1] * CALLS


@pytest.mark.full
def test_a_shard_that_cannot_read_the_calls_of_the_running_version_waits_for_that_one(
    host_without_zygote: Host,
) -> None:
    deployment = host_without_zygote.deployment
    calls = deployment.make_calls(CALLS)
    new = host_without_zygote.make_new()
    read_no_old_snapshots(new)
    host_without_zygote.versions.install(new)
    deployment.relay.shard_processes()[0].kill()
    deployment.relay.program.wait_for_line("cannot read the calls of that one")
    host_without_zygote.versions.install(host_without_zygote.old)
    deployment.relay.program.wait_for_line("shard 0 has restored 2 calls; 0 could not be restored")
    for call in calls:
        call.talk()
    assert [call.end() for call in calls] == [1] * CALLS


@pytest.mark.parametrize(
    "file",
    quick_first(
        ["nh/shard/link/control.py", "nh/shard/__main__.py", "nh/supervisor/supervisor.py", "nh/cli/run.py"]
    ),
)
def test_an_upgrade_to_code_that_does_not_start_is_refused(host: Host, file: str) -> None:
    call = host.deployment.make_call(b"call")
    new = host.make_new()
    new.append(file, "\ndef broken(:\n")
    host.versions.install(new)
    result = nh(host.deployment.place, "upgrade")
    assert result.exit_code == 1
    *_waits, why = result.stderr.splitlines()  # a slow host says that it waits
    assert why.startswith("nh: everything stays as it is: ")
    eventually(lambda: "SyntaxError" in host.deployment.relay.program.output, "the log says why")
    assert host.answering_version() == "1.0.0"
    call.talk()
    assert call.end() == 1


@pytest.mark.kernel
def test_an_upgrade_to_a_program_that_the_kernel_refuses_is_refused(tmp_path: Path) -> None:
    with running_host(tmp_path, kernel="auto", kernel_interface="lo") as host:
        call = host.deployment.make_call(b"call")
        new = host.make_new()
        new.change("nh/fastpath/probe.py", "OLDEST: Final = (5, 10)", "OLDEST: Final = (99, 0)")
        host.versions.install(new)
        result = nh(host.deployment.place, "upgrade")
        assert result.exit_code == 1
        assert "nh 2.0.0 cannot relay inside the kernel, as this one does: it needs Linux" in result.stderr
        assert host.answering_version() == "1.0.0"
        call.talk()
        assert call.end() == 1


@pytest.mark.kernel
def test_what_the_program_of_the_version_before_relays_meanwhile_is_in_the_statistics(tmp_path: Path) -> None:
    with running_host(tmp_path, kernel="on", kernel_interface="lo") as host:
        calls = host.deployment.make_calls(CALLS)
        new = host.make_new()
        new.append("nh/fastpath/relay.bpf.json", "\n")  # so it is another program
        host.versions.install(new)
        with Speech(calls) as speech:
            nh_ok(host.deployment.place, "upgrade")
        assert host.answering_version() == "2.0.0"
        relay = host.deployment.relay

        def counts() -> list[tuple[bool, int, int]]:
            legs = [relay.call(call.call_id).sessions[0].pairs[0].from_ for call in calls]
            return [(leg.kernel, each.lost, each.packets) for leg in legs for each in leg.streams[-1:]]

        eventually(
            lambda: counts() == [(True, 0, speech.sent)] * CALLS,
            "the kernel relays all calls, and none of their packets is missing",
            details=lambda: f"sent: {speech.sent} packets of each; in the kernel, lost, received: {counts()}",
        )


def test_an_upgrade_needs_no_kernel_where_media_take_no_path_there(tmp_path: Path) -> None:
    with running_host(tmp_path, kernel="off") as host:
        new = host.make_new()
        new.change("nh/fastpath/probe.py", "OLDEST: Final = (5, 10)", "OLDEST: Final = (99, 0)")
        host.versions.install(new)
        nh_ok(host.deployment.place, "upgrade")
        assert host.answering_version() == "2.0.0"


@pytest.mark.full
def test_calls_that_a_new_version_cannot_restore_go_on_where_they_were(host: Host) -> None:
    deployment = host.deployment
    calls = deployment.make_calls(CALLS)
    new = host.make_new()
    new.change(
        "nh/calls/snapshots/codec.py",
        "def decode_snapshot(",
        "def decode_snapshot(encoded: bytes) -> CallSnapshot:\n"
        '    raise SnapshotUnreadable("never")\n\n\n'
        "def decode_snapshot_of_old(",
    )
    host.versions.install(new)
    shards = deployment.relay.shard_processes()
    nh_ok(deployment.place, "upgrade")
    relay, kept = deployment.relay, "goes on with its calls, because none of them could be restored"
    eventually(
        lambda: relay.program.output.count(kept) == SHARDS,
        "it says that each shard was kept",
        details=deployment.last_output,
    )
    assert host.answering_version() == "2.0.0"
    for call in calls:
        call.talk()
    assert not any(map(has_ended, shards))
    names = [next(calls_of(shard)) + b" is new" for shard in range(SHARDS)]
    fresh = [deployment.make_call(name) for name in names]
    assert {call.call_id for call in deployment.relay.calls().calls} == set(names)
    for call in (*calls, *fresh):
        call.talk()

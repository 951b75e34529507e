"""`nh stats` against real shared memory, piped and on a terminal."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from nh.cli.main import app
from nh.cli.stats.watch import Watch
from nh.errors import NotRunning
from nh.stats import (
    Segment,
    ShardState,
    ShardWriter,
    SupervisorStats,
    SupervisorWriter,
    create_segment,
    segment_name,
)


def publish(segment: Segment, *, packets: int, heartbeat: float | None = None) -> None:
    """What two shards and their supervisor would, once."""
    clock = time.monotonic() if heartbeat is None else heartbeat
    supervisor = SupervisorStats(
        heartbeat=clock, started=time.time() - 60, rpc_clients=3, rpc_requests_ng=123_456_789
    )
    for shard in range(segment.shards):
        writer = ShardWriter(segment, shard)
        stats = writer.resume()
        stats.packets_in, stats.calls, stats.heartbeat, stats.started = packets, 21, clock, 1.0
        writer.publish(stats)
        supervisor.shards[shard].state = ShardState.UP
    SupervisorWriter(segment).publish(supervisor)


@pytest.fixture
def running(segment: Segment) -> Iterator[Segment]:
    """The segment, published to again and again."""
    ended = threading.Event()
    publish(segment, packets=1)

    def go_on() -> None:
        packets = 1
        while not ended.wait(0.02):
            packets += 10
            publish(segment, packets=packets)

    thread = threading.Thread(target=go_on)
    thread.start()
    yield segment
    ended.set()
    thread.join()


def nh_stats(directory: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "nh", "stats", "--runtime-dir", str(directory), *words]


def test_json_is_one_reading_on_one_line(segment: Segment, tmp_path: Path) -> None:
    publish(segment, packets=500)
    for words in ([], ["--once", "--interval", "5"]):
        result = CliRunner().invoke(app, ["stats", "--runtime-dir", str(tmp_path), "--json", *words])
        assert result.exit_code == 0, result.output
        (line,) = result.stdout.splitlines()
        reading = msgspec.json.decode(line)
        assert reading["totals"]["packets_in"] == 1000
        assert [shard["state"] for shard in reading["shards"]] == ["up", "up"]


def test_json_with_an_interval_is_a_line_every_so_often(running: Segment, tmp_path: Path) -> None:
    command = nh_stats(tmp_path, "--json", "--interval", "0.1")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        counts: list[int] = []
        while len(set(counts)) < 3:
            counts.append(msgspec.json.decode(process.stdout.readline())["totals"]["packets_in"])
            assert len(counts) < 100, "the figures of later lines are later ones"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b""
    assert counts == sorted(counts)
    assert process.returncode == 0


def test_where_there_is_no_terminal_it_prints_one_picture_without_escapes(
    running: Segment, tmp_path: Path
) -> None:
    for words in ([], ["--once"]):
        done = subprocess.run(
            nh_stats(tmp_path, "--interval", "0.2", *words),
            env={name: value for name, value in os.environ.items() if name != "COLUMNS"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "2 of 2 shards up · 3 RPC clients" in done.stdout
        assert "since start" in done.stdout
        assert "\x1b" not in done.stdout
        *_, counters = done.stdout.partition("since start\n")
        assert not [line for line in counters.splitlines() if line.startswith(" ")], "a row is one line"
        assert not [line for line in done.stdout.splitlines() if line.endswith(" ")]


def test_the_environment_names_the_runtime_directory_too(segment: Segment, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["stats", "--json"], env={"NH_RUNTIME_DIR": str(tmp_path)})
    assert result.exit_code == 0


def test_nothing_running_is_told_with_where_it_looked(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["stats", "--runtime-dir", str(tmp_path / "other")])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    for part in ("nh does not run", str(tmp_path / "other"), "--runtime-dir", "NH_RUNTIME_DIR"):
        assert part in result.stderr


@contextlib.contextmanager
def on_terminal(
    command: list[str], term: str = "xterm-256color"
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`command` on a terminal of 80 columns, and the terminal's other end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))
    environment = {**os.environ, "TERM": term}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    try:
        with process:
            try:
                yield process, ours
            finally:
                process.kill()
    finally:
        os.close(ours)


def read_until(terminal: int, wanted: bytes) -> bytes:
    """What appears on the terminal, up to `wanted` or until the program is gone."""
    seen = b""
    while wanted not in seen:
        ready, _, _ = select.select([terminal], [], [], 20)
        assert ready, f"{wanted!r} did not appear in {seen!r}"
        try:
            seen += os.read(terminal, 65536)
        except OSError:  # Linux' way to say that the other side has closed
            raise AssertionError(f"it ended without {wanted!r}: {seen!r}") from None
    return seen


def test_on_a_terminal_it_goes_on_until_interrupted(running: Segment, tmp_path: Path) -> None:
    with on_terminal(nh_stats(tmp_path, "--interval", "0.1")) as (process, terminal):
        seen = read_until(terminal, "█".encode())  # a graph needs two pictures
        seen += read_until(terminal, b"RPC clients")
        assert b"\x1b[?1049h" not in seen  # not the alternate screen: the last picture stays
        process.send_signal(signal.SIGINT)
        read_until(terminal, b"\x1b[?25h")  # the cursor is shown again
        assert process.wait(20) == 0


def test_the_terminal_is_as_it_was_behind_sigterm(running: Segment, tmp_path: Path) -> None:
    with on_terminal(nh_stats(tmp_path, "--interval", "60")) as (process, terminal):
        before = termios.tcgetattr(terminal)
        read_until(terminal, b"sort: shard")
        assert termios.tcgetattr(terminal) != before
        process.send_signal(signal.SIGTERM)
        read_until(terminal, b"\x1b[?25h")
        assert process.wait(20) == -signal.SIGTERM, "the status tells what ended it"
        assert termios.tcgetattr(terminal) == before


def test_a_dumb_terminal_gets_one_picture(running: Segment, tmp_path: Path) -> None:
    with on_terminal(nh_stats(tmp_path, "--interval", "0.1"), term="dumb") as (process, terminal):
        seen = read_until(terminal, b"since start")
        with contextlib.suppress(OSError):  # the end
            while more := os.read(terminal, 65536):
                seen += more
        assert b"2 of 2 shards up" in seen
        assert b"\x1b" not in seen
        assert process.wait(20) == 0


def test_keys_sort_and_end_the_live_view(running: Segment, tmp_path: Path) -> None:
    with on_terminal(nh_stats(tmp_path, "--interval", "60")) as (process, terminal):
        read_until(terminal, b"sort: shard")
        os.write(terminal, b"s")
        read_until(terminal, b"sort: CPU")
        os.write(terminal, b"q")
        read_until(terminal, b"\x1b[?25h")
        assert process.wait(20) == 0


def test_a_watch_follows_nh_to_its_next_run(segment: Segment, tmp_path: Path) -> None:
    long_ago = time.monotonic() - 60
    publish(segment, packets=5, heartbeat=long_ago)
    with Watch(tmp_path) as watch:
        killed = watch.read()
        warning = watch.warning(killed)
        assert "silent for 1m0" in warning
        assert "shards that live relay on, and new calls are refused: `kill -9 " in warning

        segment.unlink()
        stopped = watch.read()
        assert stopped.totals.packets_in == 10
        assert watch.warning(stopped) == "nh has stopped; these are its last values"

        following = create_segment(segment_name(tmp_path), shards=1)
        publish(following, packets=7)
        again = watch.read()
        assert (len(again.shards), again.totals.packets_in) == (1, 7)
        assert watch.warning(again) == ""
        following.unlink()
        following.close()


def test_a_watch_of_nothing_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match=r"nh does not run with runtime .*; start it, or name another"):
        Watch(tmp_path)

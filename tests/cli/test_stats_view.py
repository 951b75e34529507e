import io

import pytest
from rich.console import Console, RenderableType

from nh.cli.stats.counters import counters_table
from nh.cli.stats.rates import Measured, Meter
from nh.cli.stats.series import Series
from nh.cli.stats.shard_table import WIDE_COLUMNS
from nh.cli.stats.view import StatsView
from nh.stats.fields import Kind
from nh.stats.layout import DROPS, SHARD_TABLE, ShardState, StandbyGroup
from nh.stats.reading import ShardReading, StatsReading
from tests.cli.readings import make_reading, make_shard


def rendered(what: RenderableType, width: int = 80) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(what)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def view_of(reading: StatsReading, before: StatsReading | None = None, warning: str = "") -> StatsView:
    meter = Meter()
    if before is not None:
        meter.measure(before)
    return StatsView(reading, meter.measure(reading), Series([1, 5]), Series([2, 2]), warning)


def row(lines: list[str], name: str) -> str:
    """The row that begins with `name`, with single spaces."""
    (found,) = (line.split() for line in lines if line.split()[:1] == [name])
    return " ".join(found)


def busy(number: int, clock: float, scale: int = 1) -> ShardReading:
    passed = clock - 100.0
    return make_shard(
        number,
        clock=clock,
        cpu=number,
        calls=12 * scale,
        sessions=11 * scale,
        sockets=48 * scale,
        ports_free=152,
        ports_total=200,
        memory_bytes=30 * 2**20,
        loop_lag_s=0.004,
        restarts=number,
        packets_in=int(1000 * passed) * scale,
        bytes_in=int(250_000 * passed) * scale,
        cpu_s=0.5 * passed,
        drop_source_mismatch=int(7 * passed) * scale,
        allocate_ok=int(2 * passed) * scale,
    )


BEFORE = make_reading(busy(0, 100.0), busy(1, 100.0))
AFTER = make_reading(busy(0, 101.0), busy(1, 101.0), clock=101.0)


def test_a_shard_has_a_row_with_its_state_load_and_rates() -> None:
    lines = rendered(view_of(AFTER, BEFORE))
    assert row(lines, "1") == "1 up 1 50 30M 12 11 48 152 1000 2.0 7.0 2.0 4ms 1"
    assert row(lines, "all") == "all 100 60M 24 22 96 304 2000 4.0 14 4.0 4ms 1"
    assert "drop/s  14 mismatch" in lines


def test_drops_are_told_by_reason_in_each_row_of_a_wide_terminal() -> None:
    lines = rendered(view_of(AFTER, BEFORE), WIDE_COLUMNS)
    others = " ".join("0" for _ in DROPS[1:])
    assert row(lines, "1") == f"1 up 1 50 30M 12 11 48 152 1000 2.0 7.0 {others} 2.0 4ms 1"


@pytest.mark.parametrize(
    ("width", "headings"),
    [
        (79, "# cpu cpu% mem calls sess socks free pkt/s Mb/s drop cmd/s lag rst"),
        (60, "# cpu% mem calls free pkt/s Mb/s drop cmd/s lag rst"),
        (40, "# cpu% calls free pkt/s drop lag"),
        (26, "# calls pkt/s drop"),
        (12, "# pkt/s"),
    ],
)
def test_a_narrow_terminal_shows_fewer_columns_and_cuts_none(width: int, headings: str) -> None:
    lines = rendered(view_of(AFTER, BEFORE), width)
    assert row(lines, "#") == headings
    table = lines[lines.index(next(line for line in lines if line.split()[:1] == ["#"])) :][:4]
    assert not any("…" in line for line in table)


def test_packets_are_told_by_path() -> None:
    def at(clock: float) -> StatsReading:
        shard = busy(0, clock)
        shard.kernel_packets, shard.kernel_flows = shard.packets_in * 9 // 10, 44
        return make_reading(shard, clock=clock, kernel_interfaces=3)

    lines = rendered(view_of(at(101.0), at(100.0)))
    assert "paths   900/s in the kernel (44 flows, 3 interfaces) · 100/s in user space" in lines
    assert "paths   in the kernel (44 flows, 3 interfaces)" in rendered(view_of(at(100.0)))


def test_where_the_kernel_relays_nothing_one_line_says_so() -> None:
    assert "paths   all in user space" in rendered(view_of(AFTER, BEFORE))


def test_what_the_death_of_a_shard_would_cost_is_told_beside_what_outlives_it() -> None:
    shard = make_shard(calls=12, calls_saved=12, sockets=48, sockets_held=48)
    assert "backup  12 calls, 48 sockets" in rendered(view_of(make_reading(shard)))
    shard.sockets_held, shard.sockets_not_held = 40, 20  # 12 of those that were not held are closed
    lines = rendered(view_of(make_reading(shard)))
    assert "backup  12 calls, 40 sockets · 8 sockets not held, see nh doctor" in lines


def test_a_store_that_takes_no_calls_is_told_with_its_fault() -> None:
    away = make_reading(make_shard())
    away.supervisor.store_pending, away.supervisor.store_fault = 3, "memory: away"
    assert "store   cannot be written, 3 calls waiting: memory: away" in rendered(view_of(away))
    assert not any("store" in line for line in rendered(view_of(make_reading(make_shard()))))


def test_a_socket_that_is_on_its_way_to_the_supervisor_is_no_missing_one() -> None:
    shard = make_shard(calls=12, calls_saved=12, sockets=48, sockets_held=44)
    assert "backup  12 calls, 44 sockets" in rendered(view_of(make_reading(shard)))


def test_the_header_says_version_uptime_shards_and_clients() -> None:
    (header, *_) = rendered(view_of(AFTER))
    assert header.startswith("nh 0.1.0 · up 1m30s · 2 of 2 shards up · 3 RPC clients · ")


@pytest.mark.parametrize(
    ("how", "said"), [(0, ""), (1, " (upgraded 1m30s ago)"), (2, " (taken over 1m30s ago)")]
)
def test_the_header_says_how_a_running_nh_got_its_calls(how: int, said: str) -> None:
    reading = make_reading(busy(0, 100.0))
    reading.supervisor.taken_over = how
    reading.supervisor.running_since = reading.supervisor.started
    assert rendered(view_of(reading))[0].startswith("nh 0.1.0 · up 1m30s · ")
    reading.supervisor.running_since = reading.time - 3 * 86_400
    assert rendered(view_of(reading))[0].startswith(f"nh 0.1.0 · up 3d00h{said} · ")


@pytest.mark.parametrize("width", [70, 80, 100, 200])
@pytest.mark.parametrize("draining", [0, 1])
def test_the_header_is_one_line_of_any_width(width: int, draining: int) -> None:
    reading = make_reading(*(make_shard(number) for number in range(256)))
    supervisor = reading.supervisor
    supervisor.taken_over, supervisor.draining, supervisor.drain_deadline = 2, draining, 900_000.0
    supervisor.running_since = reading.time - 99 * 86_400 - 23 * 3600
    supervisor.rpc_clients = 4096
    header, below = rendered(view_of(reading), width)[:2]
    assert below.startswith("packets/s")
    assert "256 of 256 shards up" in header
    assert ("draining" in header) == bool(draining)
    assert len(header) <= width


def test_after_an_orderly_end_it_says_stopped() -> None:
    reading = make_reading(busy(0, 100.0), busy(1, 100.0), age_s=60.0)
    meter = Meter()
    lines = rendered(StatsView(reading, meter.measure(reading), stopped=True))
    assert lines[0].startswith("nh 0.1.0 · stopped · 2 shards · ")
    assert row(lines, "1").startswith("1 stop ")
    assert "hung" not in "\n".join(lines)


def test_a_standby_shows_whose_calls_it_has_in_place_of_shards() -> None:
    reading = make_reading(busy(0, 100.0))
    supervisor = reading.supervisor
    supervisor.standby, supervisor.standby_since = 1, reading.time - 90.0
    supervisor.groups = [
        StandbyGroup(group="pair-1", holder="relay-1:/run/nh", ready=1, calls=20, lag_s=0.12),
        StandbyGroup(group="pair-2", calls=1, lag_s=12.0, fault="its calls are encrypted"),
    ]
    lines = [line for line in rendered(view_of(reading), 80) if line]
    assert lines[0].startswith("nh 0.1.0 · standby for 1m30s · 3 RPC clients · ")
    assert [line.split() for line in lines if line.startswith("pair")] == [
        ["pair-1", "20", "0.1s", "relay-1:/run/nh"],
        ["pair-2", "1", "12s", "none"],
    ]
    assert lines[-1].strip() == "its calls are encrypted"
    assert not any(line.startswith(("all ", "paths")) for line in lines)


@pytest.mark.parametrize(("ends", "said"), [(0.0, "draining · "), (190.0, "draining, 1m30s at most · ")])
def test_the_header_says_that_it_drains(ends: float, said: str) -> None:
    reading = make_reading(busy(0, 100.0))
    assert "draining" not in rendered(view_of(reading))[0]
    reading.supervisor.draining = 1
    reading.supervisor.drain_deadline = ends
    assert rendered(view_of(reading))[0].startswith(f"nh 0.1.0 · {said}up 1m30s · ")


def test_the_header_says_that_a_limit_is_reached() -> None:
    reading = make_reading(busy(0, 100.0))
    assert " at " not in rendered(view_of(reading))[0]
    reading.totals.at_limit = reading.totals.at_max_calls = 1
    assert rendered(view_of(reading))[0].startswith("nh 0.1.0 · at max_calls · up 1m30s · ")
    two = make_reading(busy(0, 100.0), busy(1, 100.0))
    two.totals.at_limit, two.totals.at_max_cpu, two.totals.at_ports = 2, 2, 1
    assert rendered(view_of(two))[0].startswith("nh 0.1.0 · at max_cpu · at ports in 1 of 2 · up 1m30s · ")


def test_graphs_end_with_the_highest_value() -> None:
    lines = rendered(view_of(AFTER, BEFORE))
    assert lines[1].startswith("packets/s    5.0 ")
    assert lines[1].endswith("▂█ max 5.0")
    assert lines[2].startswith("calls          2 ")


def test_rates_that_are_not_known_yet_are_dashes() -> None:
    assert row(rendered(view_of(AFTER)), "0") == "0 up 0 - 30M 12 11 48 152 - - - - 4ms 0"


def test_shards_that_are_not_well_say_so() -> None:
    lines = rendered(
        view_of(
            make_reading(
                make_shard(0, state=ShardState.STARTING),
                make_shard(1, state=ShardState.DOWN, heartbeat_age_s=None),
                make_shard(2, heartbeat_age_s=60.0),
            ),
            warning="the supervisor is silent",
        )
    )
    assert [row(lines, name).split()[1] for name in "012"] == ["init", "down", "hung"]
    assert "0 of 3 shards up" in lines[0]
    assert "the supervisor is silent" in lines


def full(number: int, clock: float) -> ShardReading:
    """A shard of which every value is as long as it gets."""
    shard = make_shard(number, clock=clock, cpu=255, restarts=123)
    for field in SHARD_TABLE:
        if field.kind is Kind.COUNTER:
            setattr(shard, field.name, 12_345_678 * (clock - 100.0) / (1 if field.unit != "s" else 1e6))
    shard.calls = shard.sessions = shard.sockets = shard.ports_free = shard.ports_total = 12_345
    shard.memory_bytes = 999 * 2**20
    shard.loop_lag_s = 0.099
    shard.bytes_in = int(1e9 * (clock - 100.0))
    return shard


def test_reasons_beyond_the_width_are_summed_up() -> None:
    before, after = make_shard(0, clock=100.0), make_shard(0, clock=101.0)
    for number, reason in enumerate(DROPS[:7]):
        setattr(after, reason.name, 1000 * (number + 1))
    lines = rendered(view_of(make_reading(after), make_reading(before)), 60)
    assert "drop/s  7000 DTMF blocked · 6000 overflow · 15.0k other" in lines
    assert "drop/s  none" in rendered(view_of(make_reading(make_shard(0, clock=101.0)), make_reading(before)))


@pytest.mark.parametrize("width", [80, WIDE_COLUMNS])
def test_nothing_is_cut_even_with_the_longest_values(width: int) -> None:
    names = range(240, 256)
    before = make_reading(*(full(name, 100.0) for name in names))
    lines = rendered(view_of(make_reading(*(full(name, 101.0) for name in names)), before), width)
    assert "…" not in "\n".join(lines)
    assert len(row(lines, "255").split()) == (15 if width == 80 else 14 + len(DROPS))
    assert max(map(len, lines)) <= width


def test_everything_since_the_start_has_a_line_for_each_kind_within_80_columns() -> None:
    lines = rendered(counters_table(AFTER))
    commands = [
        "allocate",
        "activate",
        "close",
        "list",
        "show",
        "offer",
        "answer",
        "delete",
        "query",
        "block",
    ]
    assert [line.split()[0] for line in lines] == [
        *("since", "received", "sent", "paths", "dropped", "refused", "sessions", "expired", "recovery"),
        *commands,
        *("requests", "unserved", "datagrams", "connections"),
    ]
    assert "received     2000 packets, 500 kB" in lines
    assert "paths        0 in the kernel · 2000 in user space · 0 kernel table full" in lines
    assert "allocate     4 ok · 0 refused · 0 failed" in lines


def test_packets_that_were_dropped_since_the_start_are_told_by_their_reasons() -> None:
    shard = make_shard(drop_no_target=3, drop_source_mismatch=2)
    (dropped,) = [
        line for line in rendered(counters_table(make_reading(shard))) if line.startswith("dropped")
    ]
    assert {part.strip() for part in dropped.removeprefix("dropped").split("·")} == {
        "3 no target",
        "2 mismatch",
    }
    assert "dropped      0 packets" in rendered(counters_table(make_reading(make_shard())))


def test_what_deaths_of_shards_cost_is_counted_since_the_start() -> None:
    shard = make_shard(hangs=1, calls_restored=12, calls_lost=2, sockets_not_held=48)
    lines = rendered(counters_table(make_reading(shard, make_shard(1, sockets_not_held=4))))
    assert "recovery     1 hangs · 12 calls restored · 2 lost · 52 sockets not held" in lines


def test_it_is_drawn_without_a_history_too() -> None:
    lines = rendered(StatsView(AFTER, Measured((None, None), None)))
    assert not any(line.startswith("packets/s") for line in lines)

"""What a run found out, as it is kept in JSON: readings of each round, of which figures.py makes figures."""

from pathlib import Path
from typing import Final

import msgspec

from benchmarks.machine import Machine
from benchmarks.steadiness import Steadiness

LATEST: Final = Path(__file__).with_name("results") / "latest.json"


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round of one peer.

    Args:
        sent, arrived: packets.
        relay_cpu_s: CPU time of the relay's process tree.
        machine_cpu_s: CPU time of the whole machine but for the sender's waiting.
        others_s: what of that neither the relay nor this program used: how disturbed the round was.
        p50_us, p99_us: latency from one phone's send to the other's socket.
        late: packets that the sender sent more than a millisecond late.
    """

    sent: int
    arrived: int
    relay_cpu_s: float
    machine_cpu_s: float
    others_s: float
    p50_us: float
    p99_us: float
    late: int


class SetUpTime(msgspec.Struct, frozen=True):
    """Calls that were set up in a row, in how many seconds, with how much CPU time of the relay."""

    calls: int
    duration_s: float
    relay_cpu_s: float


class PeerFigures(msgspec.Struct):
    """A peer at one level.

    Args:
        rounds: in the order in which they were played; the n-th of all peers belong together.
        set_ups: what brought it from the level before to this one.
        memory_bytes: resident, of the process tree, beyond what it had without a call.
    """

    rounds: list[Round] = []
    set_ups: list[SetUpTime] = []
    memory_bytes: int = 0


class Level(msgspec.Struct):
    """A number of calls at a rate; packets per second of all streams together."""

    calls: int
    packets_per_s: float
    peers: dict[str, PeerFigures] = {}


class Skipped(msgspec.Struct, frozen=True):
    """A peer that did not take part, and why; from so many calls on, 0: at all."""

    peer: str
    calls: int
    reason: str


class CommandLatency(msgspec.Struct, frozen=True, kw_only=True):
    """How long commands took while media came as fast as they could be sent.

    Args:
        calls: of the one shard.
        relayed_per_s: packets that the shard passed on.
        relay_load: share of its CPU that it used, 0 to 1.
        commands: how many were timed.
        p50_ms, p99_ms, max_ms: of a command, as its client sees it.
        echo_p99_ms: of an exchange with a process on the same CPU that sends back what it gets.
    """

    calls: int
    relayed_per_s: float
    relay_load: float
    commands: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    echo_p99_ms: float = 0.0


class OneWay(msgspec.Struct, frozen=True, kw_only=True):
    """What a packet to an end that never sends costs, beside one of a conversation.

    Args:
        calls: of each kind.
        packets_per_s: of all streams of one kind together.
        both_ways_us, one_way_us: CPU microseconds of the relay's processes a packet; the n-th belong
            together.
    """

    calls: int
    packets_per_s: float
    both_ways_us: list[float] = []
    one_way_us: list[float] = []


class KernelCalls(msgspec.Struct, frozen=True, kw_only=True):
    """What calls cost nh's own processes while the kernel relays them.

    Args:
        calls, shards, packets_per_s: of what was measured.
        in_kernel: share of the packets that the kernel relayed, 0 to 1.
        relay_load: share of a CPU that nh's processes used.
        looks: how often the delay of a shard's loop was measured.
        late: how often it was above 5 ms.
    """

    calls: int
    shards: int
    packets_per_s: float
    in_kernel: float
    relay_load: float
    looks: int
    late: int


class SetUpRound(msgspec.Struct, frozen=True):
    """Calls that were set up and ended over ng.

    Args:
        calls: how many, of all clients together.
        duration_s: how long that took.
        cpu_s: CPU seconds of the relay's processes, by what they are.
    """

    calls: int
    duration_s: float
    cpu_s: dict[str, float]


class SetUps(msgspec.Struct, kw_only=True):
    """Set-up and tear-down over ng, in one arrangement.

    Args:
        clients: how many asked at the same time.
        shards: of nh.
        cpus: that the relays had.
        peers: rounds by peer; the n-th of all peers belong together.
    """

    clients: int
    shards: int
    cpus: int
    peers: dict[str, list[SetUpRound]] = {}


class Results(msgspec.Struct, kw_only=True):
    """A whole run.

    Args:
        taken: date and time, UTC.
        machine: where.
        seconds: length of a round, at least.
        steadiness: of the relays' CPU before the first round; None if that was not measured.
        clients: by peer, through what its calls were set up; "" if that is not to be compared.
        idle_memory_bytes: by peer, without a call.
        skipped: what did not take part, with reasons.
        levels: in the order in which they were measured.
        commands: None if that was not measured.
        set_ups: over ng; [] if that was not measured.
        one_way, kernel_calls: None if that was not measured.
    """

    taken: str
    machine: Machine
    seconds: float
    steadiness: Steadiness | None = None
    clients: dict[str, str] = {}
    idle_memory_bytes: dict[str, int] = {}
    skipped: list[Skipped] = []
    levels: list[Level] = []
    commands: CommandLatency | None = None
    set_ups: list[SetUps] = []
    one_way: OneWay | None = None
    kernel_calls: KernelCalls | None = None

    def write(self, path: Path) -> None:
        """As indented JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")


def read_results(path: Path) -> Results:
    """What `write` wrote. Raises OSError, or msgspec.DecodeError for anything else."""
    return msgspec.json.decode(path.read_bytes(), type=Results)

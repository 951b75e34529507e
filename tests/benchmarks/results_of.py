"""Results as a run would have them, with figures that are easy to reckon with."""

from benchmarks.machine import Machine
from benchmarks.results import Level, PeerFigures, Results, Round, SetUpRound, SetUps, SetUpTime

MACHINE = Machine("Example CPU", 2, 2**34, {"nh": "abc", "kernel": "6.1", "rtpengine": ""})


def a_round(relay_us: float = 5.0, machine_us: float = 20.0, arrived: int = 1000) -> Round:
    return Round(
        sent=1000,
        arrived=arrived,
        relay_cpu_s=relay_us * arrived / 1e6,
        machine_cpu_s=machine_us * arrived / 1e6,
        others_s=0.0,
        p50_us=100.0,
        p99_us=200.0,
        late=0,
    )


def a_run(costs_us: dict[str, list[float]], *, calls: int = 500, packets_per_s: float = 30_000.0) -> Results:
    peers = {
        name: PeerFigures([a_round(cost) for cost in costs], [SetUpTime(calls, 0.5, 0.1)], calls * 6000)
        for name, costs in costs_us.items()
    }
    clients = dict.fromkeys(costs_us, "Net::SIP client (Perl)")
    level = Level(calls, packets_per_s, peers)
    return Results(taken="2024-01-01", machine=MACHINE, seconds=1.0, clients=clients, levels=[level])


def a_set_up(clients: int = 1) -> list[SetUps]:
    """nh at half the rate of rtpengine, and once at its rate."""
    ours = [SetUpRound(100, seconds, {"supervisor": seconds / 10, "shards": 0.2}) for seconds in (1, 0.5, 1)]
    theirs = [SetUpRound(100, 0.5, {"rtpengine": 0.05})] * 3
    return [SetUps(clients=clients, shards=1, cpus=1, peers={"nh": ours, "rtpengine": theirs})]

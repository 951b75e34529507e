"""The relays that are measured, by name."""

from collections.abc import Callable
from typing import Final

from benchmarks.peers import names
from benchmarks.peers.direct import Direct
from benchmarks.peers.floor import CFloor, PythonFloor
from benchmarks.peers.interface import Peer
from benchmarks.peers.nathelper import NatHelper
from benchmarks.peers.nh import Nh, shards_needed
from benchmarks.peers.rtpengine import RtpEngine

NAMES: Final = (
    names.DIRECT,
    names.FLOOR_C,
    names.FLOOR_PYTHON,
    names.NATHELPER,
    names.RTPENGINE,
    names.NH,
    names.NH_KERNEL,
    "nh-at-once",
    names.NH_SHARDS,
)


def peers_by_name(most_calls: int) -> dict[str, Callable[[], Peer]]:
    """What makes each peer of NAMES, if it can take part.

    Args:
        most_calls: the highest number of calls that any will be asked for.
    """
    makers: list[Callable[[], Peer]] = [
        Direct,
        CFloor,
        PythonFloor,
        NatHelper,
        RtpEngine,
        Nh,
        lambda: Nh(kernel=True),
        lambda: Nh(flags=("--coalesce-s", "0")),
        lambda: Nh(shards=shards_needed(most_calls)),
    ]
    return dict(zip(NAMES, makers, strict=True))

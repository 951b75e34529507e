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
from nh.calls.settings import RelaySettings

COALESCE_S: Final = RelaySettings().coalesce_s
"""What nh waits for more packets by default."""

NAMES: Final = (
    names.DIRECT,
    names.FLOOR_C,
    names.FLOOR_PYTHON,
    names.FLOOR_C_COALESCED,
    names.FLOOR_PYTHON_COALESCED,
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
        lambda: CFloor(COALESCE_S),
        lambda: PythonFloor(COALESCE_S),
        NatHelper,
        RtpEngine,
        Nh,
        lambda: Nh(kernel=True),
        lambda: Nh(flags=("--coalesce-s", "0")),
        lambda: Nh(shards=shards_needed(most_calls)),
    ]
    return dict(zip(NAMES, makers, strict=True))

"""What one step of a store on a server costs: measured by benchmarks.store_server, used by the simulation."""

from pathlib import Path
from typing import Final

import msgspec

RESULTS: Final = Path(__file__).parent / "results" / "store.json"
"""The measured costs from which the tables of docs/explanation/scale.md are made."""

SNAPSHOT_BYTES: Final = 1827
"""Of a call of ng with one audio stream and RTCP, measured."""


class Costs(msgspec.Struct, frozen=True):
    """Costs of one step; a step is what the server executes as one command or script.

    Attributes:
        server: name and version of the server.
        idle_us: CPU of the server in a second without requests.
        write_us, write_call_us: for a write, and for each call in it. A renewal of the lease is taken for a
            write without calls.
        read_us, read_call_us: the same for a page of calls that a standby or a reconciliation reads.
        follow_us: for one look of a standby into the stream; each changed call is read_call_us more.
        own_us, own_call_us: CPU of nh's thread for a write, and for each call in it.
        own_read_call_us: the same for each call that is read.
        record_bytes: of a call in a write.
        memory_bytes: of a call, at the server.
    """

    server: str
    idle_us: float
    write_us: float
    write_call_us: float
    read_us: float
    read_call_us: float
    follow_us: float
    own_us: float
    own_call_us: float
    own_read_call_us: float
    record_bytes: float
    memory_bytes: float


def load(path: Path = RESULTS) -> Costs:
    """The costs that were measured."""
    return msgspec.json.decode(path.read_bytes(), type=Costs)


def save(costs: Costs, path: Path) -> None:
    """Write them to a file."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(costs), indent=2) + b"\n")

"""The line that says that nh is ready, and what the settings amount to on this host. Pure."""

from collections.abc import Sequence

from nh.config import Settings
from nh.supervisor.host.fd_limits import CALL_SOCKETS, capacity


def ready_line(
    settings: Settings,
    *,
    cpus: Sequence[int],
    ports: Sequence[tuple[int, int]],
    descriptors: int,
    held_sockets: int,
    listening: str,
    kernel: Sequence[str] | None,
) -> str:
    """The line, without an end.

    Arguments:
        settings: see Settings.
        cpus: those that may be used; the first ones are the shards'.
        ports: (lowest, highest) of each shard.
        descriptors: how many each process may have.
        held_sockets: how many the supervisor holds at most.
        listening: where RPC and ng are served.
        kernel: names of the interfaces with the path in the kernel; None: there is no such path.
    """
    room = capacity(ports, descriptors, settings.relay)
    held = held_sockets // CALL_SOCKETS
    fewer = f", sockets held for {held}" if held < room.calls else ""
    shards = "1 shard on CPU" if len(ports) == 1 else f"{len(ports)} shards on CPUs"
    where = "user space only" if kernel is None else f"kernel {','.join(kernel) or 'on no interface yet'}"
    return (
        f"ready: {shards} {','.join(str(cpu) for cpu in cpus[: len(ports)])};"
        f" {listening}; ports {ports[0][0]}-{ports[-1][1]};"
        f" {where}; up to {room.calls} calls (limited by {room.limited_by}){fewer}"
    )

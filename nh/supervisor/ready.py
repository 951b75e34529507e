"""What nh tells of itself when it is ready and later: what it has on this host, and what to do next."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nh.config import Settings
from nh.printable import counted
from nh.supervisor.host.fd_limits import CALL_SOCKETS, capacity
from nh.supervisor.runtime import Runtime
from nh.supervisor.shards.drain import DrainPolicy

_COMMANDS: Final = {"stats": "live view", "calls": "the calls", "load": "relay test calls"}
"""What to type first, and what it shows."""


class ServiceStatus:
    """What is printed when nh is ready, and what the service manager shows from then on.

    Args:
        runtime: the host's resources.
        ports: (lowest, highest) of each shard.
        drain: refuses new calls while it runs.
    """

    def __init__(self, runtime: Runtime, ports: Sequence[tuple[int, int]], drain: DrainPolicy) -> None:
        self._runtime = runtime
        self._ports = ports
        self._drain = drain
        self._told_fault = ""  # of the store

    @property
    def ready_lines(self) -> list[str]:
        """The ready line, and what to do next: that not after an upgrade, or where no terminal shows it."""
        runtime, line = self._runtime, ready_line(self._runtime, self._ports)
        shown = sys.stdout.isatty() and not runtime.stats.taken_over
        return [line, *next_steps(runtime.settings)] if shown else [line]

    def tell_ready(self) -> None:
        """Have the service manager know that nh is ready."""
        self._runtime.notifier.ready(self._line())

    def tell(self) -> None:
        """Have the service manager show the present status."""
        self._runtime.notifier.status(self._line())

    def tell_store_fault(self) -> None:
        """Have the service manager show why calls are not stored, from when that begins until it ends."""
        if (fault := self._runtime.stats.store_fault) != self._told_fault:
            self._told_fault = fault
            self.tell()

    def _line(self) -> str:
        prefix = "draining, new calls are refused; " if self._drain.draining else ""
        if self._runtime.stats.store_refuses:
            prefix += "the store is away, new calls are refused; "
        if self._told_fault:
            prefix += f"calls are not stored: {self._told_fault}; "
        return prefix + ready_line(self._runtime, self._ports).removeprefix("ready: ")


def ready_line(runtime: Runtime, ports: Sequence[tuple[int, int]]) -> str:
    """The line that nh prints when it is ready: what the settings amount to on this host.

    Args:
        runtime: the host's resources.
        ports: (lowest, highest) of each shard.
    """
    room = capacity(ports, runtime.descriptors, runtime.settings.relay)
    held = runtime.held_sockets // CALL_SOCKETS
    fewer = f", sockets held for {held}" if held < room.calls else ""
    shards = "1 shard on CPU" if len(ports) == 1 else f"{len(ports)} shards on CPUs"
    where = "user space only"
    served = "; ".join(filter(None, map(str, (runtime.rpc, runtime.http))))
    if runtime.kernel is not None:
        where = f"kernel {','.join(runtime.kernel.interfaces) or 'on no interface yet'}"
    return (
        f"ready: {shards} {','.join(str(cpu) for cpu in runtime.cpus[: len(ports)])};"
        f" {served}; ports {ports[0][0]}-{ports[-1][1]};"
        f" {where}; up to {counted(room.calls, 'call')} (limited by {room.limited_by}){fewer}"
    )


def next_steps(settings: Settings, argv: Sequence[str] | None = None) -> list[str]:
    """Lines below the ready line, for a terminal.

    Args:
        settings: those of the relay.
        argv: the command line of this process; None: sys.argv.
    """
    nh = _command((sys.argv if argv is None else argv)[0])
    where = f" --runtime-dir {shlex.quote(settings.runtime_dir)}" if settings.runtime_dir else ""
    lines = ["In another terminal:"]
    lines += [f"  {nh} {name}{where}  # {what}" for name, what in _COMMANDS.items()]
    if settings.http:
        lines.append(f"The live page: http://{settings.http[0]}/")
    return [*lines, "Ctrl-C ends the relay."]


def _command(program: str) -> str:
    """How a shell in the same directory starts the program that this process was started with."""
    path = Path(program)
    if path.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m {path.parent.name}"
    found = shutil.which(path.name)
    return path.name if found is not None and Path(found).samefile(path) else shlex.quote(program)

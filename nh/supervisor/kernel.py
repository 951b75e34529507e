"""The path in the kernel, as the supervisor has it: one program for all shards, on the interfaces that carry media.

The supervisor loads the program and hangs it in; shards inherit the maps and say what is relayed
(nh.shard.kernel_path). What is hung in as a link ends with the last process that holds it. Nothing here knows calls.
"""

import contextlib
import hashlib
import logging
import struct
from collections.abc import Iterator
from typing import Final

from nh.config import AttachMode, KernelMode, Settings
from nh.errors import KernelPathUnavailable
from nh.fastpath.attach import Attachments, Method
from nh.fastpath.bpf import attach_tcx
from nh.fastpath.clsact import remove_leftovers
from nh.fastpath.interfaces import Interface, InterfaceWatch
from nh.fastpath.loader import LoadedProgram, load
from nh.fastpath.probe import Answer, probe
from nh.loop import Loop
from nh.stats import SupervisorStats
from nh.wire.link import KernelMaps

logger = logging.getLogger(__name__)

_METHODS: Final = {
    AttachMode.AUTO: Method.AUTO,
    AttachMode.TCX: Method.TCX,
    AttachMode.CLSACT: Method.CLSACT,
}


class KernelService:
    """The program on its interfaces, from construction to close().

    Arguments:
        loop: follows the interfaces.
        settings: see Settings.
        shards: how many share the maps, 1 or more.
        stats: where the number of interfaces is written.

    Raises KernelPathUnavailable if the kernel refuses, or no interface can have the program.
    """

    def __init__(self, loop: Loop, settings: Settings, shards: int, *, stats: SupervisorStats) -> None:
        self._stats = stats
        self._slots = -(-_flows_wanted(settings) // shards)
        with contextlib.ExitStack() as undo:
            self._program = load(self._slots * shards)
            undo.callback(self._program.close)
            self._attachments = _attachments(self._program, settings)
            undo.callback(self._attachments.close)
            self._watch = _watch(loop, self._on_change, settings)
            undo.callback(self._watch.close)
            self._watch.start()
            if not self._attachments.interfaces:
                wanted = ", ".join(settings.kernel_interface)
                raise KernelPathUnavailable(
                    f"none of its interfaces is there: {wanted}" if wanted else "no interface can have it",
                    errno=errno.ENODEV,
                )
            undo.pop_all()

"""The path in the kernel, on the supervisor's side: one program for all shards, attached to the interfaces.

The supervisor loads the program and attaches it. Shards inherit its maps and write the flows
(nh.shard.media.kernel.path). An attachment by a BPF link ends with the last process that holds the link.
"""

import contextlib
import errno
import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import Final

from nh.config import Settings
from nh.config.table import KernelMode
from nh.errors import KernelPathUnavailable
from nh.fastpath.attach.attachments import Attachments
from nh.fastpath.attach.clsact import remove_leftovers
from nh.fastpath.bpf import attach_tcx
from nh.fastpath.layout import FORMAT
from nh.fastpath.loader import load, program_digest
from nh.fastpath.netlink.interfaces import InterfaceWatch, NetworkInterface, why_none
from nh.fastpath.probe import explained, this_host
from nh.ipc.link_messages import KernelMaps
from nh.loop import Loop
from nh.reasons import reason
from nh.room import when_there_is_room
from nh.stats import SupervisorStats
from nh.supervisor.orphans.client import OrphanClient

logger = logging.getLogger(__name__)

SHORT_S: Final = 2.0
"""How long a shortage is waited for: orphans relay again after five seconds."""


_FORMAT: Final = f"{hashlib.sha256(FORMAT.encode()).hexdigest()[:16]}/"
"""How the identity of maps begins that this version reads, whichever program they are of."""


class KernelService:
    """The attached program, from construction to close(). It is attached to new interfaces as they come up.

    Args:
        loop: watches the interfaces.
        settings: see Settings.
        shards: how many share the maps, 1 or more.
        stats: where the number of interfaces is published.
        orphans: shards of an earlier run; if they have the same maps, the program uses these.

    Attributes:
        inherited: whether the maps are the orphans': then their flows go on in the kernel.
        moving: the orphans' maps if they have the same format, but are not those of this run: their flows
            move. They belong to the orphans.
        on_links: called when `links` has changed; set by the owner.

    Raises:
        KernelPathUnavailable: the kernel refuses, or the program cannot be attached to any interface, or
            there is no interface and kernel = on.
    """

    def __init__(
        self,
        loop: Loop,
        settings: Settings,
        shards: int,
        *,
        stats: SupervisorStats,
        orphans: Sequence[OrphanClient],
    ) -> None:
        self._stats = stats
        self.on_links: Callable[[], None] = _ignore_links
        self._tried = False
        # each shard has one more, for the carry-over; the first one of all is the program's
        self._indexes = -(-_flows_wanted(settings) // shards) + 1
        with contextlib.ExitStack() as undo:
            self._identity = f"{_FORMAT}{program_digest()[:16]}/{self._indexes}/{shards}"
            maps = _maps_of(orphans, lambda identity: identity == self._identity)
            self.inherited = maps is not None
            self.moving = (
                () if maps is not None else _maps_of(orphans, lambda each: each.startswith(_FORMAT)) or ()
            )
            self._program = explained(this_host(), lambda: load(1 + self._indexes * shards, maps))
            undo.callback(self._program.close)
            self._attachments = Attachments(
                self._program.program_fd, _name(settings), _create_link, settings.kernel_attach
            )
            undo.callback(self._attachments.close)
            self._watch = InterfaceWatch(loop, self._on_change, settings.kernel_interface)
            undo.callback(self._watch.close)
            self._watch.start()
            if not self._attachments.interfaces and (self._tried or settings.kernel is KernelMode.ON):
                tried = "the program cannot be attached to any interface"
                why = tried if self._tried else why_none(settings.kernel_interface)
                raise KernelPathUnavailable(why, errno=errno.ENODEV)
            undo.pop_all()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The maps, which every shard inherits."""
        return self._program.flows_fd, self._program.counters_fd

    @property
    def links(self) -> list[int]:
        """The BPF links: the program stays attached while any process has them open."""
        return self._attachments.links

    @property
    def interfaces(self) -> list[str]:
        """Names of the interfaces with the program."""
        return sorted(interface.name for interface in self._attachments.interfaces)

    def share(self, shard: int) -> KernelMaps:
        """The part of the maps that belongs to a shard, by number."""
        flows_fd, counters_fd = self.descriptors
        return KernelMaps(
            flows_fd,
            counters_fd,
            first_index=1 + shard * self._indexes,
            indexes=self._indexes,
            identity=self._identity,
            format=FORMAT,
        )

    def stop_at(self, at_ns: int) -> None:
        """Have the program forward nothing from then on.

        Args:
            at_ns: nanoseconds of CLOCK_BOOTTIME; 0: it goes on for as long as it is attached.
        """
        self._program.stop_at(at_ns)

    def close(self) -> None:
        """Detach the program, unless shards hold its links, and close the maps."""
        self._watch.close()
        self._attachments.close()
        self._program.close()

    def _on_change(self, came: list[NetworkInterface], went: list[NetworkInterface]) -> None:
        self._tried |= bool(came)
        self._attachments.update(came, went)
        self._stats.kernel_interfaces = len(self._attachments.interfaces)
        self.on_links()


def start_kernel_service(
    loop: Loop,
    settings: Settings,
    shards: int,
    *,
    stats: SupervisorStats,
    orphans: Sequence[OrphanClient],
) -> tuple[KernelService | None, str]:
    """Start the path in the kernel, if the settings allow it and the host has it.

    Where orphans have calls, a shortage of descriptors or memory is waited for: the kernel has their media.

    Args:
        loop, settings, shards, stats, orphans: see KernelService.

    Returns:
        The service and ""; or None, and the reason for people.

    Raises:
        KernelPathUnavailable: kernel = on, and it is unavailable.
    """
    if settings.kernel is KernelMode.OFF:
        _remove_leftovers(settings)
        return None, "it is turned off (kernel = off)"
    try:
        service = when_there_is_room(
            lambda: KernelService(loop, settings, shards, stats=stats, orphans=orphans),
            SHORT_S if orphans else 0.0,
        )
    except (KernelPathUnavailable, OSError) as refusal:
        if settings.kernel is KernelMode.ON:
            raise KernelPathUnavailable(
                f"kernel = on, but media cannot be relayed inside the kernel: {reason(refusal)}; correct"
                " that or use --kernel auto",
                errno=refusal.errno or 0,
            ) from refusal
        logger.warning(
            "media are relayed in user space, not inside the kernel: %s; that costs CPU and nothing else;"
            " `nh doctor` says what to do, --kernel off ends this line",
            reason(refusal),
        )
        _remove_leftovers(settings)
        return None, reason(refusal)
    return service, ""


def _ignore_links() -> None:
    pass


def _maps_of(orphans: Sequence[OrphanClient], fit: Callable[[str], bool]) -> tuple[int, int] | None:
    """The maps of the first orphan whose maps fit, by their identity."""
    for each in orphans:
        if each.readable and fit(each.hello.kernel) and len(each.maps) == 2:
            flows_fd, counters_fd = each.maps
            return flows_fd, counters_fd
    return None


def _remove_leftovers(settings: Settings) -> None:
    """Remove the filters of a killed run, which would go on relaying its flows."""
    try:
        remove_leftovers(_name(settings))
    except OSError as exc:
        logger.warning(
            "filters of a killed run cannot be removed: %s; they still relay its flows in the kernel",
            reason(exc),
        )


def _name(settings: Settings) -> str:
    """The name of the filters: the same for every run in one runtime directory."""
    return f"nh-{hashlib.sha256(bytes(settings.runtime_path.absolute())).hexdigest()[:16]}"


def _flows_wanted(settings: Settings) -> int:
    if settings.kernel_flows:
        return settings.kernel_flows
    ranges = {settings.port_range} | {each.ports for each in settings.interfaces if each.ports}
    return sum(high + 1 - low for low, high in ranges)


def _create_link(program_fd: int, ifindex: int) -> int:
    try:
        return attach_tcx(program_fd, ifindex)
    except KernelPathUnavailable as refusal:
        raise OSError(refusal.errno, str(refusal)) from refusal

"""The program on the interfaces that carry media, by TCX links or by clsact filters."""

import errno
import logging
from typing import Protocol

from nh.fastpath.attach import AttachMode
from nh.fastpath.attach.clsact import ClsactFilters
from nh.fastpath.attach.tcx import CreateLink, TcxLinks
from nh.fastpath.netlink.interfaces import NetworkInterface
from nh.reasons import reason

logger = logging.getLogger(__name__)

_UNKNOWN_TO_KERNEL = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.E2BIG)
"""What kernels without TCX answer to BPF_LINK_CREATE."""


class Attacher(Protocol):
    """A means to attach a program to interfaces: TcxLinks or ClsactFilters."""

    def attach(self, interface: NetworkInterface) -> None:
        """Attach the program. Raises OSError if the kernel refuses."""

    def detach(self, interface: NetworkInterface) -> None:
        """Detach it; no effect if it is not attached. May raise OSError."""

    @property
    def links(self) -> list[int]:
        """Descriptors of links: the program stays attached as long as a process holds them."""

    def close(self) -> None:
        """Detach it everywhere. May raise OSError."""


class Attachments:
    """The interfaces to which the program is attached.

    Args:
        program_fd: descriptor of a program of type BPF_PROG_TYPE_SCHED_CLS; stays the caller's.
        name: identifies this nh on the host, the same after a restart: filters left under it are removed now.
        create_link: see CreateLink.
        mode: see AttachMode.

    No method raises. If attaching to an interface fails, the log says so once, and media of that interface
    stay in user space.
    """

    def __init__(
        self, program_fd: int, name: str, create_link: CreateLink, mode: AttachMode = AttachMode.AUTO
    ) -> None:
        self._filters = ClsactFilters(program_fd, name)
        self._attacher: Attacher = (
            self._filters if mode is AttachMode.CLSACT else TcxLinks(program_fd, create_link)
        )
        self._may_fall_back = mode is AttachMode.AUTO
        self._on: dict[int, NetworkInterface] = {}
        self._warned: set[str] = set()
        try:
            # with TCX too: filters of a killed run would go on relaying its flows
            self._filters.remove_leftovers()
        except OSError as error:
            logger.warning(
                "clsact filters of an earlier run are not removed, they may relay its old flows: %s",
                reason(error),
            )

    @property
    def interfaces(self) -> list[NetworkInterface]:
        """The interfaces that have the program."""
        return list(self._on.values())

    @property
    def links(self) -> list[int]:
        """Descriptors that keep the program attached while a process holds them; not the caller's."""
        return self._attacher.links

    def update(self, came: list[NetworkInterface], went: list[NetworkInterface]) -> None:
        """Follow the interfaces; fits InterfaceWatch."""
        for interface in went:
            self.detach(interface)
        for interface in came:
            self.attach(interface)
        self._delete_left_qdiscs()

    def attach(self, interface: NetworkInterface) -> bool:
        """Attach the program to `interface`, again if it is attached; returns whether that worked."""
        self.detach(interface)
        try:
            self._attach(interface)
        except OSError as error:
            # ENODEV: the interface is gone, and the watch will say so
            if error.errno != errno.ENODEV:
                self._warn_once(interface, error)
            return False
        self._on[interface.ifindex] = interface
        return True

    def detach(self, interface: NetworkInterface) -> None:
        """Detach the program; no effect if it is not attached, or the interface is gone."""
        if self._on.pop(interface.ifindex, None) is None:
            return
        try:
            self._attacher.detach(interface)
        except OSError as error:
            logger.warning(
                "interface %s: the kernel path cannot be detached: %s", interface.name, reason(error)
            )

    def close(self) -> None:
        """Detach the program everywhere."""
        self._on.clear()
        try:
            self._attacher.close()
        except OSError as error:
            logger.warning("the kernel path cannot be detached from every interface: %s", reason(error))
        self._delete_left_qdiscs()

    def _delete_left_qdiscs(self) -> None:
        try:
            self._filters.delete_left_qdiscs()
        except OSError as error:
            logger.warning("clsact qdiscs of an earlier run are not deleted: %s", reason(error))

    def _attach(self, interface: NetworkInterface) -> None:
        try:
            self._attacher.attach(interface)
        except OSError as error:
            if not self._may_fall_back or error.errno not in _UNKNOWN_TO_KERNEL:
                raise
            logger.info("the kernel has no TCX links (Linux 6.6): clsact filters attach the program instead")
            self._attacher = self._filters
            self._attacher.attach(interface)
        self._may_fall_back = False

    def _warn_once(self, interface: NetworkInterface, error: OSError) -> None:
        if interface.name not in self._warned:
            self._warned.add(interface.name)
            logger.warning(
                "interface %s: the kernel path cannot be attached, so its media stay in user space: %s",
                interface.name,
                reason(error),
            )

"""The program on the interfaces that carry media, in whichever way the kernel knows."""

import errno
import logging
from typing import Protocol

from nh.fastpath.attach import AttachMode
from nh.fastpath.attach.clsact import ClsactFilters, remove_leftovers
from nh.fastpath.attach.tcx import CreateLink, TcxLinks
from nh.fastpath.netlink.interfaces import Interface

logger = logging.getLogger(__name__)

_UNKNOWN_TO_KERNEL = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.E2BIG)
"""What kernels without TCX answer to BPF_LINK_CREATE."""


class Way(Protocol):
    """One way to attach a program."""

    def attach(self, interface: Interface) -> None:
        """Put the program on. Raises OSError if the kernel refuses."""

    def detach(self, interface: Interface) -> None:
        """Take it off; no effect if it is not on. May raise OSError."""

    @property
    def links(self) -> list[int]:
        """Descriptors with which it stays on for as long as anybody has them."""

    def close(self) -> None:
        """Take it off everywhere. May raise OSError."""


class Attachments:
    """Where the program is.

    Arguments:
        program_fd: descriptor of a program of type BPF_PROG_TYPE_SCHED_CLS; stays the caller's.
        name: identifies this nh on the host, the same after a restart: filters left under it are removed now.
        create_link: see CreateLink.
        mode: see AttachMode.

    No method raises: an interface that cannot be served is told in the log once, and its media stay in
    user space.
    """

    def __init__(
        self, program_fd: int, name: str, create_link: CreateLink, mode: AttachMode = AttachMode.AUTO
    ) -> None:
        self._filters = ClsactFilters(program_fd, name)
        self._way: Way = self._filters if mode is AttachMode.CLSACT else TcxLinks(program_fd, create_link)
        self._may_fall_back = mode is AttachMode.AUTO
        self._on: dict[int, Interface] = {}
        self._warned: set[str] = set()
        try:
            # in every way: filters of a killed run would go on relaying its flows
            remove_leftovers(name)
        except OSError as error:
            logger.warning("cannot remove the filters that a run before may have left: %s", error)

    @property
    def interfaces(self) -> list[Interface]:
        """Those that have the program."""
        return list(self._on.values())

    @property
    def links(self) -> list[int]:
        """Descriptors with which it stays on for as long as anybody has them; they stay the attachments'."""
        return self._way.links

    def update(self, came: list[Interface], went: list[Interface]) -> None:
        """Follow the interfaces; fits InterfaceWatch."""
        for interface in went:
            self.detach(interface)
        for interface in came:
            self.attach(interface)

    def attach(self, interface: Interface) -> bool:
        """Put the program on `interface`, anew if it is on; whether that worked."""
        self.detach(interface)
        try:
            self._attach(interface)
        except OSError as error:
            # it may be gone by now, which is for the watch to tell
            if error.errno != errno.ENODEV:
                self._warn_once(interface, error)
            return False
        self._on[interface.ifindex] = interface
        return True

    def detach(self, interface: Interface) -> None:
        """Take it off; no effect if it is not on, or the interface is gone."""
        if self._on.pop(interface.ifindex, None) is None:
            return
        try:
            self._way.detach(interface)
        except OSError as error:
            logger.warning("cannot take the kernel path off interface %s: %s", interface.name, error)

    def close(self) -> None:
        """Take it off everywhere."""
        self._on.clear()
        try:
            self._way.close()
        except OSError as error:
            logger.warning("cannot take the kernel path off all interfaces: %s", error)

    def _attach(self, interface: Interface) -> None:
        try:
            self._way.attach(interface)
        except OSError as error:
            if not self._may_fall_back or error.errno not in _UNKNOWN_TO_KERNEL:
                raise
            logger.info("the kernel has no TCX links (Linux 6.6): attaching by clsact filters instead")
            self._way = self._filters
            self._way.attach(interface)
        self._may_fall_back = False

    def _warn_once(self, interface: Interface, error: OSError) -> None:
        if interface.name not in self._warned:
            self._warned.add(interface.name)
            logger.warning(
                "interface %s: the kernel path cannot be attached, its media stay in user space: %s",
                interface.name,
                error,
            )

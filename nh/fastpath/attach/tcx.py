"""A program on the ingress of interfaces by TCX links (Linux 6.6 and later, linux/bpf.h: BPF_TCX_INGRESS).

A link is a descriptor. When its last holder closes it, or dies, the program is off the interface; when the
interface goes, the descriptor stays and means nothing any more.
"""

import os
from collections.abc import Callable

from nh.fastpath.netlink.interfaces import NetworkInterface

CreateLink = Callable[[int, int], int]
"""BPF_LINK_CREATE: from descriptor of the program and ifindex to descriptor of the link; raises OSError."""


class TcxLinks:
    """The links of one program, by interface.

    Args:
        program_fd: descriptor of a program of type BPF_PROG_TYPE_SCHED_CLS; stays the caller's.
        create_link: see CreateLink.
    """

    def __init__(self, program_fd: int, create_link: CreateLink) -> None:
        self._program_fd = program_fd
        self._create_link = create_link
        self._links: dict[int, int] = {}

    def attach(self, interface: NetworkInterface) -> None:
        """Put the program behind what is there already. Raises OSError if the kernel refuses."""
        self._links[interface.ifindex] = self._create_link(self._program_fd, interface.ifindex)

    def detach(self, interface: NetworkInterface) -> None:
        """Take it off; no effect if it is not on."""
        link = self._links.pop(interface.ifindex, None)
        if link is not None:
            os.close(link)

    @property
    def links(self) -> list[int]:
        """Descriptors of them all."""
        return list(self._links.values())

    def close(self) -> None:
        """Take it off everywhere."""
        while self._links:
            os.close(self._links.popitem()[1])

"""A program on the ingress of interfaces as a filter of the clsact qdisc, for kernels without TCX: tc-bpf(8).

A filter outlives the process that made it. Therefore it carries the name of its nh, and the next start under
that name removes it. A mark in the name says that nh made the qdisc as well: only such a qdisc is deleted,
and only when nothing else is on it. Filters of others are not touched.

A filter goes behind the existing ones: what the host's own filters drop stays dropped.
Source: linux/pkt_sched.h, linux/pkt_cls.h; the requests are those of rtnetlink(7).
"""

import errno
import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from nh.fastpath.netlink.interfaces import NetworkInterface
from nh.fastpath.netlink.messages import CREATE, EXCLUSIVE, attribute, attributes, command, dump

_NEW_QDISC, _DELETE_QDISC, _GET_QDISC = 36, 37, 38
_NEW_FILTER, _DELETE_FILTER, _GET_FILTER = 44, 45, 46

_TC: Final = struct.Struct("=B3xiIII")
"""struct tcmsg: family, ifindex, handle, parent, info."""

_CLSACT, _CLSACT_HANDLE = 0xFFFFFFF1, 0xFFFF0000
"""TC_H_CLSACT, the parent of the qdisc, and its handle."""

_INGRESS, _EGRESS = 0xFFFFFFF2, 0xFFFFFFF3
"""Where filters of clsact are: TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS) and …_EGRESS."""

_KIND, _OPTIONS = 1, 2
"""TCA_KIND and TCA_OPTIONS."""

_BPF_FD, _BPF_NAME, _BPF_FLAGS = 6, 7, 8
_DIRECT_ACTION = 1

_ALL_PROTOCOLS = 0x0300
"""ETH_P_ALL in network byte order."""

_QDISCS = (b"clsact\0", b"ingress\0")
"""An ingress qdisc takes filters at the same place."""

_OURS = "+clsact"
"""Follows the name of a filter whose qdisc nh made."""

_FIRST_PREFERENCE, _LAST_PREFERENCE = 0xD000, 0xFFFF
"""The kernel itself gives out preferences from 0xC000 downwards."""

_GONE = (errno.ENODEV, errno.ENOENT, errno.EINVAL)
"""The interface, the filter or the qdisc (EINVAL) does not exist any more."""


class _Filter(NamedTuple):
    """A filter: its preference and protocol (in one word), its handle, and its name if it is of kind bpf."""

    info: int
    handle: int
    name: str


class ClsactFilters:
    """The filters of one program, by interface.

    Args:
        program_fd: descriptor of a program of type BPF_PROG_TYPE_SCHED_CLS; stays the caller's.
        name: identifies this nh on the host, and is the same after a restart; 200 bytes at most.
    """

    def __init__(self, program_fd: int, name: str) -> None:
        self._program_fd = program_fd
        self._name = name
        self._on: set[int] = set()
        self._left: set[int] = set()  # interfaces with a qdisc that the run before made

    def remove_leftovers(self) -> None:
        """Remove the filters that the run before left, and not yet the qdiscs that it made.

        To delete a qdisc and make it again would cost the packets that the interface sends meanwhile.

        Raises:
            OSError: the kernel refuses.
        """

        def remove(ifindex: int) -> None:
            if _remove_filters(ifindex, self._name):
                self._left.add(ifindex)

        _at_each(_interfaces_with_qdisc(), remove)

    def delete_left_qdiscs(self) -> None:
        """Delete those qdiscs that the run before made, and that attach() has no use for. Raises OSError."""
        left, self._left = self._left, set()
        _at_each(left, _delete_qdisc_if_empty)

    def attach(self, interface: NetworkInterface) -> None:
        """Put the program behind what is there already. Raises OSError if the kernel refuses."""
        ifindex = interface.ifindex
        made = _make_qdisc(ifindex) or ifindex in self._left
        self._left.discard(ifindex)
        try:
            _add_filter(ifindex, self._program_fd, self._name + (_OURS if made else ""))
        except Exception:
            if made:
                _delete_qdisc_if_empty(ifindex)
            raise
        self._on.add(ifindex)

    def detach(self, interface: NetworkInterface) -> None:
        """Take it off; no effect if it is not on. Raises OSError if the kernel refuses."""
        if interface.ifindex in self._on:
            self._on.remove(interface.ifindex)
            remove_filters(self._name, {interface.ifindex})

    @property
    def links(self) -> list[int]:
        """None: a filter stays until it is removed."""
        return []

    def close(self) -> None:
        """Take it off everywhere. Raises the last OSError, after all have been tried."""
        remove_filters(self._name, self._on)
        self._on.clear()


def remove_leftovers(name: str) -> None:
    """Remove the filters that a killed run under this name left in the thread's network namespace.

    Raises:
        OSError: the kernel refuses.
    """
    remove_filters(name, _interfaces_with_qdisc())


def remove_filters(name: str, ifindexes: set[int]) -> None:
    """Remove the filters of that name from interfaces. Raises the last OSError, after all have been tried."""
    _at_each(ifindexes, lambda ifindex: _remove(ifindex, name))


def _at_each(ifindexes: set[int], do: Callable[[int], None]) -> None:
    """Raises the last OSError, after all have been tried, unless the interface or what is on it is gone."""
    failed: OSError | None = None
    for ifindex in sorted(ifindexes):
        try:
            do(ifindex)
        except OSError as error:
            if error.errno not in _GONE:
                failed = error
    if failed is not None:
        raise failed


def _remove(ifindex: int, name: str) -> None:
    if _remove_filters(ifindex, name):
        _delete_qdisc_if_empty(ifindex)


def _remove_filters(ifindex: int, name: str) -> bool:
    """Remove the filters of that name from one interface; returns whether nh made the qdisc."""
    made = False
    for entry in _filters(ifindex, _INGRESS):
        if entry.name in (name, name + _OURS):
            # with the handle: without one the kernel deletes all filters of the preference
            command(_DELETE_FILTER, 0, _TC.pack(0, ifindex, entry.handle, _INGRESS, entry.info))
            made |= entry.name == name + _OURS
    return made


def _make_qdisc(ifindex: int) -> bool:
    """Whether there was none."""
    try:
        command(_NEW_QDISC, CREATE | EXCLUSIVE, _qdisc(ifindex))
    except FileExistsError:
        return False
    return True


def _delete_qdisc_if_empty(ifindex: int) -> None:
    if not _filters(ifindex, _INGRESS) and not _filters(ifindex, _EGRESS):
        command(_DELETE_QDISC, 0, _qdisc(ifindex))


def _qdisc(ifindex: int) -> bytes:
    return _TC.pack(0, ifindex, _CLSACT_HANDLE, _CLSACT, 0) + attribute(_KIND, b"clsact\0")


def _add_filter(ifindex: int, program_fd: int, name: str) -> None:
    taken = {entry.info >> 16 for entry in _filters(ifindex, _INGRESS)}
    preference = next(each for each in range(_FIRST_PREFERENCE, _LAST_PREFERENCE + 1) if each not in taken)
    options = (
        attribute(_BPF_FD, struct.pack("=I", program_fd))
        + attribute(_BPF_NAME, name.encode() + b"\0")
        + attribute(_BPF_FLAGS, struct.pack("=I", _DIRECT_ACTION))
    )
    body = _TC.pack(0, ifindex, 0, _INGRESS, preference << 16 | _ALL_PROTOCOLS)
    command(
        _NEW_FILTER,
        CREATE | EXCLUSIVE,
        body + attribute(_KIND, b"bpf\0") + attribute(_OPTIONS, options),
    )


def _filters(ifindex: int, parent: int) -> list[_Filter]:
    found: list[_Filter] = []
    for message in dump(_GET_FILTER, _TC.pack(0, ifindex, 0, parent, 0)):
        _, _, handle, _, info = _TC.unpack_from(message.body)
        facts = attributes(message.body, _TC.size)
        # each preference comes once more by itself, without a handle and options
        options = attributes(facts.get(_OPTIONS, b"")) if facts.get(_KIND) == b"bpf\0" else {}
        name = options.get(_BPF_NAME, b"").rstrip(b"\0").decode(errors="surrogateescape")
        found.append(_Filter(info, handle, name))
    return found


def _interfaces_with_qdisc() -> set[int]:
    return {
        int(_TC.unpack_from(message.body)[1])
        for message in dump(_GET_QDISC, bytes(_TC.size))
        if attributes(message.body, _TC.size).get(_KIND) in _QDISCS
    }

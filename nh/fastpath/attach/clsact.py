"""A program on the ingress of interfaces as a filter of the clsact qdisc, for kernels without TCX: tc-bpf(8).

Filters outlive the process that made them, so they carry the name of the nh that did, and whoever starts
under that name removes what was left. A mark in the name says that the qdisc was made by nh as well: only
then it is deleted, and only if nothing else is on it. Filters of others are not touched.

A filter goes behind those that are there: what the host's own filters drop stays dropped.
"""

import errno
import os
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from nh.fastpath.netlink.interfaces import Interface
from nh.fastpath.netlink.messages import attributes, dump

_INGRESS, _EGRESS = 0xFFFFFFF2, 0xFFFFFFF3
"""Where filters of clsact are: TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS) and …_EGRESS (linux/pkt_sched.h)."""

_GET_QDISC = 38
_QDISC_BYTES, _QDISC_IFINDEX = 20, struct.Struct("=4xi")
"""struct tcmsg."""

_KIND = 1
_QDISCS = (b"clsact\0", b"ingress\0")
"""An ingress qdisc takes filters at the same place."""

_OURS = "+clsact"
"""Follows the name of a filter whose qdisc nh made."""

_FIRST_PREFERENCE, _LAST_PREFERENCE = 0xD000, 0xFFFF
"""The kernel itself gives out preferences from 0xC000 downwards."""

T = TypeVar("T")


class _Filter(NamedTuple):
    """A filter: its preference and protocol (in one word), its handle, and its name if it is of kind bpf."""

    info: int
    handle: int
    name: str


class ClsactFilters:
    """The filters of one program, by interface.

    Arguments:
        program_fd: descriptor of a program of type BPF_PROG_TYPE_SCHED_CLS; stays the caller's.
        name: identifies this nh among those of the host, and is the same after a restart; 200 bytes at most.
    """

    def __init__(self, program_fd: int, name: str) -> None:
        self._program_fd = program_fd
        self._name = name
        self._on: set[int] = set()

    def attach(self, interface: Interface) -> None:
        """Put the program behind what is there already. Raises OSError if the kernel refuses."""
        _apart(lambda: self._attach(interface.ifindex))
        self._on.add(interface.ifindex)

    def detach(self, interface: Interface) -> None:
        """Take it off; no effect if it is not on. Raises OSError if the kernel refuses."""
        if interface.ifindex in self._on:
            self._on.remove(interface.ifindex)
            _apart(lambda: _remove(interface.ifindex, self._name))

    @property
    def links(self) -> list[int]:
        """None: a filter stays until it is removed."""
        return []

    def close(self) -> None:
        """Take it off everywhere. Raises the last OSError, after all have been tried."""
        remove_filters(self._name, self._on)
        self._on.clear()

    def _attach(self, ifindex: int) -> None:
        with _tc() as tc:
            made = _make_qdisc(tc, ifindex)
            try:
                taken = {entry.info >> 16 for entry in _filters(tc, ifindex, _INGRESS)}
                free = (each for each in range(_FIRST_PREFERENCE, _LAST_PREFERENCE + 1) if each not in taken)
                tc.tc(
                    "add-filter",
                    "bpf",
                    ifindex,
                    parent=_INGRESS,
                    prio=next(free),
                    fd=self._program_fd,
                    name=self._name + (_OURS if made else ""),
                    direct_action=True,
                )
            except Exception:
                if made:
                    _delete_qdisc_if_empty(tc, ifindex)
                raise


def remove_leftovers(name: str) -> None:
    """Remove what a killed run under this name left, wherever in the calling thread's network namespace.

    pyroute2 is loaded only if an interface has a qdisc that such a filter can be on. Raises OSError if the
    kernel refuses.
    """
    remove_filters(name, _interfaces_with_qdisc())


def remove_filters(name: str, ifindexes: set[int]) -> None:
    """Remove the filters of that name from interfaces. Raises the last OSError, after all have been tried."""
    if ifindexes:
        _apart(lambda: _remove_all(name, sorted(ifindexes)))


def _remove_all(name: str, ifindexes: list[int]) -> None:
    failed: OSError | None = None
    for ifindex in ifindexes:
        try:
            _remove(ifindex, name)
        except OSError as error:
            failed = error
    if failed is not None:
        raise failed


def _remove(ifindex: int, name: str) -> None:
    try:
        with _tc() as tc:
            for entry in _filters(tc, ifindex, _INGRESS):
                if entry.name not in (name, name + _OURS):
                    continue
                # with the handle: without one the kernel deletes all filters of the preference
                tc.tc("del-filter", "bpf", ifindex, entry.handle, info=entry.info, parent=_INGRESS)
                if entry.name == name + _OURS:
                    _delete_qdisc_if_empty(tc, ifindex)
    except OSError as error:
        # the interface, the qdisc (EINVAL) or the filter is gone: somebody else was quicker
        if error.errno not in (errno.ENODEV, errno.ENOENT, errno.EINVAL):
            raise


def _make_qdisc(tc: Any, ifindex: int) -> bool:
    """Whether there was none."""
    try:
        tc.tc("add", "clsact", ifindex)
    except Exception as error:
        if getattr(error, "code", None) != errno.EEXIST:
            raise
        return False
    return True


def _delete_qdisc_if_empty(tc: Any, ifindex: int) -> None:
    if not any(_filters(tc, ifindex, _INGRESS)) and not any(_filters(tc, ifindex, _EGRESS)):
        tc.tc("del", "clsact", ifindex)


def _filters(tc: Any, ifindex: int, parent: int) -> list[_Filter]:
    found: list[_Filter] = []
    for entry in tc.get_filters(ifindex, parent=parent):
        options = entry.get_attr("TCA_OPTIONS")
        # each preference comes once more by itself, without a handle and options
        name = options.get_attr("TCA_BPF_NAME") if options and entry.get_attr("TCA_KIND") == "bpf" else None
        found.append(_Filter(entry["info"], entry["handle"], name or ""))
    return found


@contextmanager
def _tc() -> Iterator[Any]:
    """pyroute2's requests (it has no types); what the kernel refuses becomes an OSError."""
    from pyroute2 import IPRoute  # noqa: PLC0415  takes 120 ms and 15 MB, and most hosts need none of it
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415

    try:
        with IPRoute() as tc:
            yield tc
    except NetlinkError as error:
        raise OSError(error.code, os.strerror(error.code)) from error


def _apart(work: Callable[[], T]) -> T:
    """`work` in another thread: pyroute2 runs an asyncio loop, and this thread may be in one already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def _interfaces_with_qdisc() -> set[int]:
    found: set[int] = set()
    for message in dump(_GET_QDISC, bytes(_QDISC_BYTES)):
        if attributes(message.body, _QDISC_BYTES).get(_KIND) in _QDISCS:
            found.add(int(_QDISC_IFINDEX.unpack_from(message.body)[0]))
    return found

"""Network namespaces: joined by veth, with addresses, and always removed.

    with namespaces(2) as (left, right):
        join(left, right, "10.1.0.1/24", "10.1.0.2/24", "fd01::1/64", "fd01::2/64")
        with left.entered():
            ...                      # sockets that are opened here belong to it
        right.run("ip route add …")

Nothing here touches the caller's own namespace: the ends of a veth are made where they belong.
"""

import contextlib
import ctypes
import fcntl
import functools
import itertools
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.harness import HarnessError
from tools.harness.waiting import eventually

_CLONE_NEWNET = 0x40000000
_SIOCETHTOOL, _ETHTOOL_STXCSUM = 0x8946, 0x17
_numbers = itertools.count()


@functools.cache
def missing() -> str:
    """Why there can be no network namespaces here; "" if there can."""
    if shutil.which("ip") is None:
        return "needs ip: apt-get install iproute2"
    remove_leftovers()
    name = f"nhtest-{os.getpid()}-probe"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        return f"needs the privilege to make network namespaces: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "delete", name], check=True)
    return ""


def remove_leftovers() -> None:
    """Remove the namespaces of processes that were killed; a process in one of them stays there."""
    for path in Path("/run/netns").glob("nhtest-*-*"):
        pid = path.name.split("-")[1]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            # another process may do the same
            subprocess.run(["ip", "netns", "delete", path.name], capture_output=True, check=False)


class Namespace:
    """A network namespace; loopback is up.

    Args:
        name: as `ip netns` has it.

    Attributes:
        name: the same.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *commands: str) -> str:
        """Run `commands` in it, one after the other, split at blanks; what they wrote.

        Those of ip that follow one another are one process: "ip OBJECT …".

        Raises:
            AssertionError: one fails; the message has its own words.
        """
        return "".join(
            self._run_ip(list(some)) if of_ip else "".join(map(self._run, some))
            for of_ip, some in itertools.groupby(commands, _is_of_ip)
        )

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is in it, and so are the threads and processes that it starts."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with Path("/run/netns", self.name).open("rb") as inside:
                _enter(inside.fileno())
            try:
                yield
            finally:
                _enter(before)
        finally:
            os.close(before)

    def sum_in_software(self, interface: str) -> None:
        """What leaves by a (virtual) interface has its checksum made by the kernel, for receivers to check.

        By itself the kernel leaves that to the card, and virtual cards neither make nor check it.
        """
        setting = ctypes.create_string_buffer(struct.pack("=II", _ETHTOOL_STXCSUM, 0), 8)
        request = struct.pack("16sQ16x", interface.encode(), ctypes.addressof(setting))
        with self.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, _SIOCETHTOOL, request)

    def wait_for_link(self, interface: str) -> None:
        """Return once an interface that was set up, and whose peer was, carries packets."""
        show = f"ip link show dev {interface}"
        eventually(lambda: "state UP" in self.run(show), f"{interface} carries packets")

    def wait_for_address(self, address: str) -> None:
        """Return once the namespace takes packets to an IPv6 address that it has.

        The kernel answers for the address a moment after it has it, on a busy host up to seconds: until then
        it drops such packets.
        """
        get = f"ip route get {address}"
        eventually(lambda: self.run(get).startswith("local "), f"{address} is answered for")

    def _run_ip(self, commands: Sequence[str]) -> str:
        # `ip netns exec` starts another process, in another mount namespace; ip needs neither
        batch = "".join(f"{command.removeprefix('ip ')}\n" for command in commands)
        words = ["ip", "-n", self.name, "-batch", "-"]
        done = subprocess.run(words, input=batch, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{', '.join(commands)}: {done.stderr.strip()}"
        return done.stdout

    def _run(self, command: str) -> str:
        words = ["ip", "netns", "exec", self.name, *command.split()]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr.strip()}"
        return done.stdout


@contextlib.contextmanager
def namespaces(count: int) -> Iterator[list[Namespace]]:
    """`count` new namespaces, removed at the end with all that is in them. Raises HarnessError where that
    is not possible."""
    if reason := missing():
        raise HarnessError(reason)
    made: list[Namespace] = []
    try:
        for _ in range(count):
            made.append(_make(f"nhtest-{os.getpid()}-{next(_numbers)}"))
        yield made
    finally:
        for namespace in made:
            subprocess.run(["ip", "netns", "delete", namespace.name], check=True)


def join(left: Namespace, right: Namespace, *addresses: str, name: str = "veth") -> None:
    """A veth between two namespaces, up at both ends.

    Args:
        left, right: the namespaces.
        name: of both ends.
        addresses: with prefix lengths, in turn of the left and of the right end.
    """
    up = f"ip link set {name} up"
    left.run(f"ip link add {name} type veth peer name {name} netns {right.name}", up)
    right.run(up)
    for number, namespace in enumerate((left, right)):
        namespace.wait_for_link(name)
        # an address under duplicate address detection cannot be bound yet
        nodad = {each: " nodad" if ":" in each else "" for each in addresses[number::2]}
        namespace.run(*[f"ip address add {each} dev {name}{nodad[each]}" for each in nodad])
        for each in filter(nodad.get, nodad):
            namespace.wait_for_address(each.partition("/")[0])


def _is_of_ip(command: str) -> bool:
    """Whether it may be a line of `ip -batch`, which takes no options."""
    return command.startswith("ip ") and not command.startswith("ip -")


def _make(name: str) -> Namespace:
    subprocess.run(["ip", "netns", "add", name], check=True)
    namespace = Namespace(name)
    with namespace.entered():
        # link-local addresses too are usable at once
        for which in ("all", "default"):
            Path("/proc/sys/net/ipv6/conf", which, "accept_dad").write_text("0")
    namespace.run("ip link set lo up")
    return namespace


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")

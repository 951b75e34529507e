"""Checks of the network: ports, buffers, conntrack, firewall, network cards."""

import array
import fcntl
import re
import socket
import struct
from collections.abc import Sequence
from typing import Final

from nh.doctor.findings import Findings, ok, warning
from nh.doctor.host import Host
from nh.doctor.patient import Patient
from nh.fastpath.probe import CAP_NET_ADMIN

RMEM_BYTES: Final = 2 << 20
"""Receive buffer of a socket with video (docs/how-to/size-a-host.md)."""

_SIOCETHTOOL: Final = 0x8946
_ETHTOOL_GFLAGS: Final = 0x25
_ETH_FLAG_LRO: Final = 1 << 15


def check_ephemeral_ports(patient: Patient) -> Findings:
    """Whether the kernel gives media ports to other programs."""
    found = patient.host.numbers("/proc/sys/net/ipv4/ip_local_port_range")
    low, high = found if len(found) == 2 else (32768, 60999)
    reserved = _parse_ranges(patient.host.text("/proc/sys/net/ipv4/ip_local_reserved_ports"))
    shared = [
        (max(low, first), min(high, last))
        for first, last in patient.ranges
        if first <= high and low <= last and not _covers(reserved, max(low, first), min(high, last))
    ]
    if not shared:
        yield ok(f"the kernel gives no media port to other programs (ip_local_port_range {low}-{high})")
        return
    ports = ",".join(f"{first}-{last}" for first, last in patient.ranges)
    yield warning(
        f"media ports {_text(shared)} are in ip_local_port_range ({low}-{high})",
        "the kernel gives them to other programs, and calls that need them get others or are refused",
        f"`sysctl -w net.ipv4.ip_local_reserved_ports={ports}`, or move `ports`",
    )


def check_used_ports(patient: Patient) -> Findings:
    """Whether other programs have media ports."""
    if patient.pid is not None:
        yield ok("nh runs, so the media ports in use may be its own")
        return
    if patient.is_hidden:
        yield ok("this user cannot see whether nh runs, and so whether media ports in use are its own")
        return
    used = sorted(
        port
        for port in _udp_ports(patient.host)
        if any(first <= port <= last for first, last in patient.ranges)
    )
    if used:
        some = ", ".join(map(str, used[:5])) + (", …" if len(used) > 5 else "")
        yield warning(
            f"other programs use {len(used)} of the media ports: {some}",
            "nh passes over them, so there is room for fewer calls",
            f"`ss -lunp 'sport = :{used[0]}'` names the program; end it or move `ports`",
        )
    else:
        yield ok("no other program uses a media port")


def _udp_ports(host: Host) -> set[int]:
    ports: set[int] = set()
    for file in ("/proc/net/udp", "/proc/net/udp6"):
        for line in host.text(file).splitlines()[1:]:
            if found := re.match(r"\s*\d+: [0-9A-F]+:([0-9A-F]{4}) ", line):
                ports.add(int(found[1], 16))
    return ports


def check_buffers(patient: Patient) -> Findings:
    """Whether sockets may have room for a burst of video."""
    small = {
        name: value
        for name in ("rmem_max", "wmem_max")
        for value in patient.host.numbers(f"/proc/sys/net/core/{name}")[:1]
        if value < RMEM_BYTES
    }
    # with CAP_NET_ADMIN nh passes these limits
    if small and not patient.host.has_capability(CAP_NET_ADMIN, patient.pid):
        wanted = " ".join(f"net.core.{name}={RMEM_BYTES}" for name in small)
        yield warning(
            f"{' and '.join(f'{name} is {value}' for name, value in small.items())} bytes",
            "sockets have no room for key frames of video: packets are lost (drop_overflow)",
            f"`sysctl -w {wanted}`, or give nh CAP_NET_ADMIN",
        )
    else:
        yield ok("sockets may have the buffers that video needs")


def check_conntrack(patient: Patient) -> Findings:
    """Whether the kernel tracks media packets as connections."""
    most = patient.host.numbers("/proc/sys/net/netfilter/nf_conntrack_max")
    if not most:
        yield ok("the kernel tracks no connections")
        return
    rules = _rules(patient.host)
    ranges = patient.ranges
    if rules and all(_names_ports(rules, each, ("notrack", "NOTRACK")) for each in ranges):
        yield ok("the media ports are exempt from connection tracking")
        return
    ports = ", ".join(f"{low}-{high}" for low, high in ranges)
    yield warning(
        f"connections are tracked (at most {most[0]}), and no rule that can be seen exempts the media ports",
        "each direction of a call takes an entry; when they run out, the kernel drops packets of calls",
        "`nft 'table inet nh { chain in { type filter hook prerouting priority raw; udp dport"
        f" {{ {ports} }} notrack; }}; chain out {{ type filter hook output priority raw; udp sport"
        f" {{ {ports} }} notrack; }}; }}'`",
    )


def check_firewall(patient: Patient) -> Findings:
    """Whether a firewall turns media away."""
    rules = _rules(patient.host)
    if rules is None:
        yield ok("the rules of a firewall cannot be read by this user, or there are none")
        return
    drops = re.search(r"hook input[^\n]*policy drop|^-P INPUT (?:DROP|REJECT)", rules, re.MULTILINE)
    closed = [each for each in patient.ranges if not _names_ports(rules, each, ("accept", "ACCEPT"))]
    if drops and closed:
        ports = ", ".join(f"{low}-{high}" for low, high in closed)
        yield warning(
            f"the firewall drops what no rule accepts, and no rule names the media ports {ports}",
            "media may not arrive: silence in both directions",
            f"`nft add rule inet filter input udp dport {{ {ports} }} accept`, or the same with iptables",
        )
    else:
        yield ok("no rule that can be seen keeps media out")


def _rules(host: Host) -> str | None:
    """The rules of the packet filter, as nft and iptables print them; None: none can be read."""
    commands = (
        ("nft", "list", "ruleset"),
        ("iptables", "-S"),
        ("iptables", "-t", "raw", "-S"),
        ("ip6tables", "-S"),
    )
    printed = [text for words in commands if (text := host.output(words)) is not None]
    return "\n".join(printed) if printed else None


def _names_ports(rules: str, ports: tuple[int, int], verdicts: Sequence[str]) -> bool:
    """Whether a rule with one of the verdicts is about all of these UDP ports, or about all of UDP."""
    for line in rules.splitlines():
        if not any(verdict in line for verdict in verdicts):
            continue
        named = [(int(low), int(high)) for low, high in re.findall(r"\b(\d{1,5})[-:](\d{1,5})\b", line)]
        if any(low <= ports[0] and ports[1] <= high for low, high in named):
            return True
        if "udp" in line and "port" not in line:
            return True
    return False


def check_cards(patient: Patient) -> Findings:
    """Whether the packets of each network card reach more than one CPU, and reach it one by one."""
    host, fine = patient.host, 0
    names = [
        name
        for name in host.names("/sys/class/net")
        if host.exists(f"/sys/class/net/{name}/device")
        and host.text(f"/sys/class/net/{name}/operstate") in ("up", "unknown")
    ]
    for name in names:
        queues = [each for each in host.names(f"/sys/class/net/{name}/queues") if each.startswith("rx-")]
        spread = any(
            host.text(f"/sys/class/net/{name}/queues/{queue}/rps_cpus").replace(",", "").strip("0")
            for queue in queues
        )
        if len(queues) == 1 and not spread and host.cpus > 1:
            yield warning(
                f"{name} has one receive queue and no RPS",
                "one CPU receives all packets, and is the limit of the relay",
                f"`ethtool -L {name} combined {host.cpus}`, or"
                f" `echo {(1 << host.cpus) - 1:x} > /sys/class/net/{name}/queues/rx-0/rps_cpus`",
            )
        elif _merges(name):
            yield warning(
                f"{name} merges packets (large receive offload)",
                "merged packets cannot be relayed as they came",
                f"`ethtool -K {name} lro off`",
            )
        else:
            fine += 1
    if fine == len(names):
        yield ok("network cards spread packets over CPUs" if names else "no network card is up")


def _merges(name: str) -> bool:
    """Whether the card has large receive offload switched on (ethtool's ETHTOOL_GFLAGS)."""
    flags = array.array("I", (_ETHTOOL_GFLAGS, 0))
    request = struct.pack("16sP16x", name.encode(), flags.buffer_info()[0])
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
    except OSError:
        return False
    return bool(flags[1] & _ETH_FLAG_LRO)


def _parse_ranges(text: str) -> list[tuple[int, int]]:
    found = re.findall(r"(\d+)(?:-(\d+))?", text)
    return sorted((int(low), int(high or low)) for low, high in found)


def _covers(ranges: Sequence[tuple[int, int]], low: int, high: int) -> bool:
    """Whether ranges, sorted, have all of low to high."""
    for first, last in ranges:
        if first <= low <= last:
            low = last + 1
    return low > high


def _text(ranges: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{low}-{high}" for low, high in ranges)

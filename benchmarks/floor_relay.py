"""The smallest possible RTP relay in Python, the floor that nh is held against: poll, recv, send.

`python -m benchmarks.floor_relay ADDRESS [COALESCE_S]` says `ready`; then each line `HOST PORT HOST PORT` on
standard input (the endpoints of two phones) makes a call: two sockets on ADDRESS, each connected to one
phone. Their ports are answered in the same order; what one receives the other sends. It ends with its
standard input. After each turn it sleeps for COALESCE_S seconds (0: not at all), so that more packets wait
for the next one.
floor_relay.c is the same in C.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import select
import socket
import sys
import time
from collections.abc import Callable
from typing import Any


def main() -> None:
    """Relay until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor_relay", description=__doc__)
    parser.add_argument("address", metavar="ADDRESS")
    parser.add_argument("coalesce_s", metavar="COALESCE_S", type=float, nargs="?", default=0.0)
    options = parser.parse_args()
    address, coalesce_s = options.address, options.coalesce_s
    epoll = select.epoll()
    kept: list[socket.socket] = []  # a socket without a reference is closed

    def add_call(line: str) -> None:
        if not line:
            sys.exit()
        host_a, port_a, host_b, port_b = line.split()
        a, b = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for ours, theirs, phone in ((a, b, (host_a, int(port_a))), (b, a, (host_b, int(port_b)))):
            ours.bind((address, 0))
            ours.connect(phone)
            pairs[ours.fileno()] = (ours.recv, theirs.send)
            epoll.register(ours.fileno(), select.EPOLLIN)
            kept.append(ours)
        print(a.getsockname()[1], b.getsockname()[1], flush=True)

    def read_line(_: int) -> str:
        return sys.stdin.readline()

    # standard input looks like one more socket, so that a packet pays nothing for it
    pairs: dict[int, tuple[Callable[[int], Any], Callable[[Any], object]]] = {}
    pairs[sys.stdin.fileno()] = (read_line, add_call)
    epoll.register(sys.stdin.fileno(), select.EPOLLIN)
    print("ready", flush=True)
    while True:
        for fd, _ in epoll.poll():
            receive, send = pairs[fd]
            send(receive(2048))
        if coalesce_s:
            time.sleep(coalesce_s)


if __name__ == "__main__":
    main()

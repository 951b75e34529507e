"""The smallest possible RTP relay in Python, the floor that nh is held against: poll, recv, send.

`python -m benchmarks.floor_relay`: reads lines `IN_FD OUT_FD` of inherited, connected sockets from standard
input, says `ready`, and relays until it is terminated.
"""

import select
import socket
import sys


def main() -> None:
    """Relay for ever."""
    epoll = select.epoll()
    pairs = {}
    for line in sys.stdin:
        in_fd, out_fd = map(int, line.split())
        receive, send = socket.socket(fileno=in_fd).recv, socket.socket(fileno=out_fd).send
        pairs[in_fd] = (receive, send)
        epoll.register(in_fd, select.EPOLLIN)
    print("ready", flush=True)
    while True:
        for fd, _ in epoll.poll():
            receive, send = pairs[fd]
            send(receive(2048))


if __name__ == "__main__":
    main()

"""Sends one message, blocking with time limits; runs in the threads of nh.supervisor.timeouts.reports."""

import socket
from typing import Final
from urllib.parse import urlsplit

from nh.ip_address import split_host_port
from nh.reasons import reason
from nh.supervisor.timeouts.deliveries import Delivery

TIMEOUT_S: Final = 5.0
"""Longest wait for one operation of a socket, as in rtpengine."""

MAX_ANSWER_BYTES: Final = 64 * 1024

_UNKNOWN_DIALOG: Final = b"dialog not found"
"""Kamailio's fault for a dialog that has ended meanwhile: there is nothing left to tell."""


class NotDelivered(Exception):
    """The receiver has not taken the message; the text says why."""


def send(delivery: Delivery, *, timeout_s: float = TIMEOUT_S) -> None:
    """Send a message.

    Raises:
        NotDelivered: the receiver cannot be reached, is silent, or answers an error.
    """
    try:
        if delivery.content_type:
            _post(delivery, timeout_s)
        else:
            _send_line(delivery, timeout_s)
    except (OSError, ValueError) as exc:
        raise NotDelivered(reason(exc)) from exc


def _post(delivery: Delivery, timeout_s: float) -> None:
    import http.client  # noqa: PLC0415  most relays never get here

    url = urlsplit(delivery.where)
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=timeout_s)
    try:
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        connection.request("POST", path, delivery.body, {"Content-Type": delivery.content_type})
        answer = connection.getresponse()
        text = answer.read(MAX_ANSWER_BYTES)
    except http.client.HTTPException as exc:
        raise NotDelivered(f"{type(exc).__name__}: {exc}") from exc
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        raise NotDelivered(f"it answered {answer.status} {answer.reason}")
    if delivery.content_type == "text/xml" and b"<fault>" in text and _UNKNOWN_DIALOG not in text.lower():
        raise NotDelivered("it answered a fault")


def _send_line(delivery: Delivery, timeout_s: float) -> None:
    kind, _, where = delivery.where.partition(":")
    if kind == "unix":
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(timeout_s)
            sock.connect(where)
            sock.sendall(delivery.body)
        return
    host, port = split_host_port(where)
    with socket.create_connection((host, int(port)), timeout=timeout_s) as sock:
        sock.sendall(delivery.body)

"""ng over TCP: a connection on which messages come and go as over UDP, in bencode, one behind the other.

Requests run side by side and are answered as their results come; reading stops while too much is under way.
"""

import socket

from nh.rpc.connection import Connection
from nh.rpc.ng.handler import NgHandler
from nh.rpc.service import Service
from nh.wire.ng import NgFramer


class NgConnection(Connection):
    """A client's connection, served until either side ends it.

    Arguments:
        sock, service: see Connection.
        desk: what answers messages.
    """

    __slots__ = ("_desk",)

    def __init__(self, sock: socket.socket, service: Service, desk: NgHandler) -> None:
        self._desk = desk
        super().__init__(sock, service, NgFramer())

    def _request(self, payload: bytes) -> None:
        self._begin()
        if not self._desk.serve(payload, object(), self._reply):  # here each request is answered
            self._done()

    def _reply(self, message: bytes) -> None:
        if not self._open:  # it left before its answer
            return
        self._done()
        self._write(message)
        self._serve()

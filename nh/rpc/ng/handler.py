"""What every ng message meets, whichever way it came: duplicates are found, others dispatched, replies kept.

Knows neither sockets nor calls: it is handed messages and how to answer them, and a Dispatch executes
commands.
"""

import functools
import logging
from collections.abc import Callable, Hashable

from nh.commands import Ping
from nh.errors import ShardUnavailable, UnknownCommand
from nh.results import Failure, Result
from nh.rpc.ng.reply_cache import MAX_PENDING, ReplyCache, Send
from nh.rpc.service import Dispatch
from nh.stats.layout import SupervisorStats
from nh.throttle import RateLimitedLogger
from nh.wire import ng

MAX_DATAGRAM_BYTES = 65_507
"""Longest UDP payload over IPv4; replies over TCP are no longer, so that a duplicate may come either way."""


class NgHandler:
    """Serves the ng messages of all listeners: one cookie means one request, wherever it comes from.

    Arguments:
        now: the clock, monotonic seconds.
        dispatch: executes a command and calls back once with its result; never raises.
        stats: where requests are counted.
        limited_log: the log for what peers do wrong.
        replies: where replies are kept.
    """

    def __init__(
        self,
        now: Callable[[], float],
        dispatch: Dispatch,
        *,
        stats: SupervisorStats,
        limited_log: RateLimitedLogger,
        replies: ReplyCache | None = None,
    ) -> None:
        self._now = now
        self._dispatch = dispatch
        self._stats = stats
        self._limited_log = limited_log
        self._replies = replies or ReplyCache()

    def serve(self, message: bytes, sender: Hashable, send: Send) -> bool:
        """Answer one message, now or later.

        Arguments:
            message: cookie and all.
            sender: who is answered once although it asks several times before the answer.
            send: sends the reply.

        Returns whether it is answered: `send` is called once, for all messages of the sender that wait.
        """
        parts = ng.split_cookie(message)
        if parts is None:
            self._stats.rpc_malformed += 1
            self._limited_log.log(logging.WARNING, "an ng message without a cookie is not answered")
            return False
        cookie, payload = parts
        reply = self._replies.find(cookie, self._now())
        if reply is not None:
            self._stats.ng_retransmissions += 1
            send(reply)
            return True
        if self._replies.is_pending(cookie):
            self._stats.ng_retransmissions += 1
            return self._replies.wait(cookie, sender, send)
        self._stats.rpc_requests_ng += 1
        self._request(cookie, ng.decode_request(payload), sender, send)
        return True

    def _request(self, cookie: bytes, request: ng.Request, sender: Hashable, send: Send) -> None:
        command = request.command
        if isinstance(command, Failure):
            self._count(command)
            send(_encode(cookie, request, command))
        elif self._replies.full:
            why = ShardUnavailable(f"nh is overloaded: {MAX_PENDING} ng requests wait")
            send(_encode(cookie, request, Failure.of(why)))
        elif isinstance(command, Ping):  # to be answered again costs less than to be kept
            self._dispatch(command, lambda result: send(_encode(cookie, request, result)))
        else:
            self._replies.begin(cookie, sender, send)
            self._dispatch(command, functools.partial(self._finish, cookie, request))

    def _finish(self, cookie: bytes, request: ng.Request, result: Result) -> None:
        reply = _encode(cookie, request, result)
        for send in self._replies.finish(cookie, reply, self._now()):
            send(reply)

    def _count(self, failure: Failure) -> None:
        if failure.code == UnknownCommand.code:
            self._stats.rpc_unknown_commands += 1
        else:
            self._stats.rpc_malformed += 1
        self._limited_log.log(logging.WARNING, "an ng request is answered with an error: %s", failure.message)


def _encode(cookie: bytes, request: ng.Request, result: Result) -> bytes:
    return b"%b %b" % (cookie, ng.encode_reply(request, result, MAX_DATAGRAM_BYTES - len(cookie) - 1))

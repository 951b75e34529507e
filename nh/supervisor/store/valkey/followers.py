"""Follows several groups of calls, and asks for all of them in one round trip.

On one server, or a primary that Sentinels know, all groups share a connection. On a cluster each group may be
at a node of its own, so each follower has its own connection there.
"""

import contextlib
from collections.abc import Iterator, Sequence

from valkey import Valkey
from valkey.exceptions import NoScriptError, ResponseError

from nh.errors import StoreUnavailable
from nh.supervisor.store.valkey import scripts
from nh.supervisor.store.valkey.connection import connect
from nh.supervisor.store.valkey.failures import failures
from nh.supervisor.store.valkey.follower import Follower
from nh.supervisor.store.valkey.standing import Standing


class Followers:
    """The followers of a standby. One thread at a time uses them.

    Args:
        followers: one or more, one for each group, all of one server or cluster.
    """

    def __init__(self, followers: Sequence[Follower]) -> None:
        self._followers = followers
        self._target = followers[0].target
        self._server: Valkey | None = None

    def __iter__(self) -> Iterator[Follower]:
        return iter(self._followers)

    def poll(self) -> Iterator[tuple[Follower, Standing | StoreUnavailable]]:
        """Read what has changed since the last poll.

        Yields:
            Each group: how it stands, or why the server has refused to say; on a cluster, also why the node
            of the group does not answer.

        Raises:
            StoreUnavailable, StoreRefused: the server does not answer, or not this relay.
        """
        if self._target.cluster:
            for follower in self._followers:
                yield follower, self._poll_alone(follower)
            return
        try:
            if self._server is None:
                self._server = connect(self._target)
            with failures(self._target.name):
                replies = self._ask_all(self._server)
            for follower, reply in zip(self._followers, replies, strict=True):
                yield follower, self._outcome(follower, self._server, reply)
        except BaseException:
            self._close()
            raise

    def leave(self, taken: str = "") -> None:
        """This standby ends, or is the relay of a group: no relay gives it calls of others any more.

        If the server does not hear that, it forgets the standby after ANNOUNCED_MS.

        Args:
            taken: the group that it has.
        """
        left = [each for each in self._followers if each.group != taken]
        with contextlib.suppress(StoreUnavailable):
            if self._target.cluster:
                for follower in left:
                    follower.leave()
            elif self._server is not None and left:
                with failures(self._target.name):
                    pipeline = self._server.pipeline(transaction=False)
                    for follower in left:
                        pipeline.hdel(*follower.announcement)
                    pipeline.execute(raise_on_error=False)
        self._close()

    def _poll_alone(self, follower: Follower) -> Standing | StoreUnavailable:
        try:
            return follower.poll()
        except StoreUnavailable as exc:  # other nodes may answer
            return exc

    def _ask_all(self, server: Valkey) -> list[object]:
        """The reply for each group; one that the server refuses is an exception."""
        pipeline = server.pipeline(transaction=False)
        for at, follower in enumerate(self._followers):
            # EVAL leaves the script with the server, for those that follow
            command, script = ("EVALSHA", scripts.FOLLOW_SHA) if at else ("EVAL", scripts.FOLLOW)
            keys = follower.keys
            pipeline.execute_command(command, script, len(keys), *keys, *follower.question())
        replies = pipeline.execute(raise_on_error=False)
        if any(isinstance(reply, NoScriptError) for reply in replies):  # the first one was refused
            server.script_load(scripts.FOLLOW)
        return list(replies)

    def _outcome(self, follower: Follower, server: Valkey, reply: object) -> Standing | StoreUnavailable:
        try:
            with failures(self._target.name):
                if isinstance(reply, Exception):
                    raise reply
                return follower.take(server, reply)
        except StoreUnavailable as exc:
            if not isinstance(exc.__cause__, ResponseError):  # the connection, not this group
                raise
            return exc

    def _close(self) -> None:
        server, self._server = self._server, None
        for follower in self._followers:
            follower.close()
        if server is not None:
            server.close()

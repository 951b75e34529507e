"""A relay over all its lives: supervisors that are killed, replaced or taken over, and what they leave."""

import contextlib
import itertools
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil

from nh.ipc.peer import peer_of
from nh.results import CallDetail, LegDetail
from nh.supervisor.shards.routing import shard_of
from tests.played_call import PlayedCall
from tests.relay import Place, Relay, place_for_relay
from tests.waiting import eventually

SHARDS = 2
ENDED_S = 10.0


class Lives:
    """See above. Close it: then nothing of any life is left.

    Arguments:
        place: where all of them are.
        settings: fields of nh.config.Settings, of every life.
        options: of the interpreter, such as -P.
        environment: more variables.
    """

    def __init__(
        self,
        place: Place,
        settings: dict[str, object],
        *,
        options: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        self.place = place
        self.address = str(place.directory / "nh.sock")
        self._options = options
        self._environment = {f"NH_{name.upper()}": str(value) for name, value in settings.items()}
        self._environment |= environment or {}
        self._relays: list[Relay] = []
        self._calls: list[PlayedCall] = []
        self._left: list[psutil.Process] = []

    @property
    def relay(self) -> Relay:
        """The one that was started last."""
        return self._relays[-1]

    def begin_life(self, *words: str, shards: int = SHARDS, **settings: object) -> Relay:
        """Start `nh run`.

        Arguments:
            words: more arguments of it.
            shards: how many.
            settings: others than in other lives.
        """
        environment = self._environment | {f"NH_{name.upper()}": str(v) for name, v in settings.items()}
        relay = Relay(self.place, shards, environment, options=self._options, words=words)
        self._relays.append(relay)
        return relay

    def live(self, *words: str, shards: int = SHARDS, **settings: object) -> Relay:
        """Start `nh run` and wait until it is ready; see begin_life()."""
        relay = self.begin_life(*words, shards=shards, **settings)
        relay.wait_until_ready()
        return relay

    def begin(self, call_id: bytes) -> PlayedCall:
        """A call with media, until the end of the test."""
        call = PlayedCall(self.address, call_id)
        self._calls.append(call)
        call.talk()
        return call

    def begin_calls(self, number: int, shards: int = SHARDS) -> list[PlayedCall]:
        """Several of them, as many in one shard as in the other."""
        names = zip(*(calls_of(shard, shards) for shard in range(shards)), strict=True)
        return [self.begin(name) for name in itertools.islice(itertools.chain.from_iterable(names), number)]

    def kill_supervisor(self) -> list[psutil.Process]:
        """SIGKILL for the supervisor alone; returns its shards by number."""
        shards = [psutil.Process(shard.pid) for shard in self.relay.stats().shards]
        self._left += shards
        self.relay.program.kill()
        return shards

    def rendezvous(self) -> list[Path]:
        """The socket files at which shards wait for the next supervisor."""
        return sorted(self.place.directory.glob("shard-*.sock"))

    def close(self) -> None:
        """End everything, gently where that is possible."""
        for call in self._calls:
            call.hang_up()
        with contextlib.ExitStack() as programs:
            for relay in self._relays:
                programs.enter_context(relay.program)
            if self._relays and not self.relay.program.ended:
                psutil.Process(self.relay.program.pid).terminate()
                with contextlib.suppress(AssertionError):  # whoever does not end is killed below
                    eventually(lambda: self.relay.program.ended, "it has ended")
            for process in (*self._left, *self._listeners()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
                    process.wait(ENDED_S)

    def _listeners(self) -> Iterator[psutil.Process]:
        """Whoever waits in the runtime directory for a next life."""
        for path in self.place.directory.glob("*.sock"):
            with contextlib.suppress(OSError, psutil.NoSuchProcess):
                yield psutil.Process(listener_of(path))


def calls_of(shard: int, shards: int = SHARDS) -> Iterator[bytes]:
    """Names of calls that a shard has when they are new."""
    return (name for name in map(b"call-%d".__mod__, itertools.count()) if shard_of(name, shards) == shard)


def listener_of(path: Path) -> int:
    """The process that listens at a Unix socket. Raises OSError if nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.connect(str(path))
        return peer_of(probe).pid


@contextlib.contextmanager
def lives_of_a_relay(**settings: object) -> Iterator[Lives]:
    """Lives of which nothing is left behind the test; none has begun.

    Arguments:
        settings: fields of nh.config.Settings.
    """
    with place_for_relay() as place:
        lives = Lives(place, settings)
        try:
            yield lives
        finally:
            lives.close()


def has_ended(process: psutil.Process) -> bool:
    """Whether a process is gone, though nobody may have reaped it yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def assert_goes_on(before: CallDetail, after: CallDetail) -> None:
    """A call is what it was, whoever has it now: ports, sessions, sources; and nothing counts backwards."""
    assert [group.local_ports for group in after.groups] == [group.local_ports for group in before.groups]
    assert [each.sessionid for each in after.sessions] == [each.sessionid for each in before.sessions]
    legs_before, legs = _legs(before), _legs(after)
    assert legs_before
    assert [(leg.local, leg.announced, leg.source, leg.latched) for leg in legs] == [
        (leg.local, leg.announced, leg.source, leg.latched) for leg in legs_before
    ]
    assert all(now.packets >= then.packets for then, now in zip(legs_before, legs, strict=True))


def _legs(call: CallDetail) -> list[LegDetail]:
    pairs = [pair for session in call.sessions for pair in session.pairs]
    return [leg for pair in pairs for leg in (pair.from_, pair.to)]

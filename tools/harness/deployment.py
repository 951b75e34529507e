"""Successive runs of `nh run` in one place: killed, replaced, taken over; and what they leave behind."""

import contextlib
import itertools
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil

from nh.ipc.peer import peer_of
from nh.results import CallDetail, LegDetail
from nh.supervisor.shards.routing import shard_of
from tools.harness.call import RelayedCall
from tools.harness.relay import Place, Relay, place_for_relay
from tools.harness.waiting import eventually

SHARDS = 2
ENDED_S = 10.0


class Deployment:
    """Runs of nh that share a runtime directory, media ports and settings. `close` ends all their processes.

    Args:
        place: runtime directory and ports of every run.
        settings: fields of nh.config.Settings for every run.
        options: options of the Python interpreter, such as -P.
        environment: further environment variables.
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
        self._calls: list[RelayedCall] = []
        self._left: list[psutil.Process] = []

    @property
    def relay(self) -> Relay:
        """The run that was started last."""
        return self._relays[-1]

    def launch(self, *words: str, shards: int = SHARDS, **settings: object) -> Relay:
        """Start `nh run` and return at once.

        Args:
            words: further arguments of `nh run`.
            shards: number of shards.
            settings: fields of nh.config.Settings for this run only.
        """
        environment = self._environment | {f"NH_{name.upper()}": str(v) for name, v in settings.items()}
        relay = Relay(self.place, shards, environment, options=self._options, words=words)
        self._relays.append(relay)
        return relay

    def start(self, *words: str, shards: int = SHARDS, **settings: object) -> Relay:
        """Start `nh run` and return when it is ready. See `launch`."""
        relay = self.launch(*words, shards=shards, **settings)
        relay.wait_until_ready()
        return relay

    def make_call(self, call_id: bytes) -> RelayedCall:
        """Set up a call and pass media both ways. Its phones stay open until `close`."""
        call = RelayedCall(self.address, call_id)
        self._calls.append(call)
        call.talk()
        return call

    def make_calls(self, number: int, shards: int = SHARDS) -> list[RelayedCall]:
        """Make `number` calls, spread evenly over the shards. See `make_call`."""
        names = zip(*(calls_of(shard, shards) for shard in range(shards)), strict=True)
        return [
            self.make_call(name) for name in itertools.islice(itertools.chain.from_iterable(names), number)
        ]

    def kill_supervisor(self) -> list[psutil.Process]:
        """Send SIGKILL to the supervisor alone. Returns its shard processes, by shard number."""
        shards = [psutil.Process(shard.pid) for shard in self.relay.stats().shards]
        self._left += shards
        self.relay.program.kill()
        return shards

    def handover_sockets(self) -> list[Path]:
        """The socket files at which orphaned shards wait for the next supervisor."""
        return sorted(self.place.directory.glob("shard-*.sock"))

    def close(self) -> None:
        """End all runs: SIGTERM first, SIGKILL for what remains."""
        for call in self._calls:
            call.hang_up()
        with contextlib.ExitStack() as programs:
            for relay in self._relays:
                programs.enter_context(relay.program)
            if self._relays and not self.relay.program.ended:
                psutil.Process(self.relay.program.pid).terminate()
                with contextlib.suppress(AssertionError):  # a relay that still runs is killed below
                    eventually(lambda: self.relay.program.ended, "it has ended")
            for process in (*self._left, *self._listeners()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
                    process.wait(ENDED_S)

    def _listeners(self) -> Iterator[psutil.Process]:
        """Processes that listen at a socket in the runtime directory."""
        for path in self.place.directory.glob("*.sock"):
            with contextlib.suppress(OSError, psutil.NoSuchProcess):
                yield psutil.Process(listener_of(path))


def calls_of(shard: int, shards: int = SHARDS) -> Iterator[bytes]:
    """Call-ids that are routed to `shard` when the calls are new."""
    return (name for name in map(b"call-%d".__mod__, itertools.count()) if shard_of(name, shards) == shard)


def listener_of(path: Path) -> int:
    """The pid of the process that listens at a Unix socket. Raises OSError if no process does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.connect(str(path))
        return peer_of(probe).pid


@contextlib.contextmanager
def deployed_relay(**settings: object) -> Iterator[Deployment]:
    """Deployment of which nothing is left behind the test; none has begun.

    Arguments:
        settings: fields of nh.config.Settings.
    """
    with place_for_relay() as place:
        deployment = Deployment(place, settings)
        try:
            yield deployment
        finally:
            deployment.close()


def has_ended(process: psutil.Process) -> bool:
    """Whether a process has ended; its parent may not have reaped it yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def assert_goes_on(before: CallDetail, after: CallDetail) -> None:
    """A call keeps its ports, sessions and sources in another process, and no counter goes back."""
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

"""Calls set up as fast as a relay can, by clients that ask again until they are answered.

What each was told is kept, to be compared with what the relay has: a command that was carried out twice
would show there. Each thread has its own connection, and closes calls again so that ports do not run out.
"""

import itertools
import threading
import time
from types import TracebackType
from typing import Final, NamedTuple, Self

from nh.calls.media import Media, Side
from nh.client import NativeClient
from nh.commands import Activate, Allocate, Close, ShowCall, TransactionKey
from nh.errors import NhError, Unavailable, UnknownCall
from nh.results import Activated, Allocated, Closed, Result

LISTEN: Final = "127.0.0.1"
GIVE_UP_S: Final = 20.0
PAUSE_S: Final = 0.02
KEPT: Final = 20
"""Calls that a thread keeps up: the newest."""


class Answer(NamedTuple):
    """What a client was told of a call: its relay ports, towards either side."""

    key: TransactionKey
    ports: tuple[int, int]

    def differences(self, client: NativeClient) -> list[str]:
        """How the relay's call differs from that."""
        name = self.key.call_id.decode()
        try:
            call = client.request(ShowCall(self.key.call_id))
        except UnknownCall:
            return [f"{name}: the relay does not know it"]
        lines = []
        if len(call.sessions) != 1:
            lines.append(f"{name}: has {len(call.sessions)} sessions")
        ports = sorted(group.media[0].port for group in call.groups)
        if ports != sorted(self.ports):
            lines.append(f"{name}: has the ports {ports}, its client was told {sorted(self.ports)}")
        return lines


class CallSetup:
    """Sets up calls from its construction until `stop`.

    Args:
        address: of the relay's RPC socket.
        threads: clients at once.

    Attributes:
        calls_set_up: how many so far.
        repeated: commands that had to be sent again.
        errors: answers that no client should get.
    """

    def __init__(self, address: str, *, threads: int) -> None:
        self._address = address
        self._ended = threading.Event()
        self._kept: list[list[Answer]] = [[] for _ in range(threads)]
        self.calls_set_up = 0
        self.repeated = 0
        self.errors: list[str] = []
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"client {number}")
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> list[Answer]:
        """Set up no more; the calls that are up, as their clients were told."""
        self._ended.set()
        for thread in self._threads:
            thread.join()
        return list(itertools.chain.from_iterable(self._kept))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self, thread: int) -> None:
        kept = self._kept[thread]
        try:
            with NativeClient(self._address) as client:
                for number in itertools.count():
                    if self._ended.is_set():
                        return
                    kept.append(self._set_up(client, f"set-up-{thread}-{number}"))
                    if len(kept) > KEPT:
                        self._close(client, kept.pop(0).key)
                    with self._lock:
                        self.calls_set_up += 1
        except NhError as exc:
            self.errors.append(f"{type(exc).__name__}: {exc}")

    def _set_up(self, client: NativeClient, name: str) -> Answer:
        key = TransactionKey(name.encode(), 1, b"from", b"to")
        ports = []
        for side in Side:
            media = (Media(LISTEN, 9, 2, "RTP/AVP", "audio"),)  # no media are sent: any port will do
            result, _ = self._ask(client, Allocate(key, side, LISTEN, media))
            assert isinstance(result, Allocated)
            ports.append(result.media[0].port)
        result, tries = self._ask(client, Activate(key))
        assert isinstance(result, Activated)
        if tries == 1 and not result.created:
            self.errors.append(f"{name}: was active before it was activated")
        return Answer(key, (ports[0], ports[1]))

    def _close(self, client: NativeClient, key: TransactionKey) -> None:
        result, tries = self._ask(client, Close(key))
        assert isinstance(result, Closed)
        if result.sessions != 1 and tries == 1:
            self.errors.append(f"{key.call_id.decode()}: {result.sessions} sessions were closed")

    def _ask(self, client: NativeClient, command: Allocate | Activate | Close) -> tuple[Result, int]:
        """The answer, and how often it took asking. Raises NhError where asking again is of no use."""
        deadline = time.monotonic() + GIVE_UP_S
        for tries in itertools.count(1):
            try:
                return client.request(command), tries
            except UnknownCall:
                if not (isinstance(command, Close) and tries > 1):
                    raise
                return Closed(0), tries
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
            with self._lock:
                self.repeated += 1
            time.sleep(PAUSE_S)
        raise AssertionError("unreachable")

"""A child process: started, read line by line, ended by its process id."""

import atexit
import codecs
import contextlib
import io
import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Final

from tools.harness import HarnessError
from tools.harness.closing import Closing
from tools.harness.waiting import eventually

STOP_S: Final = 5.0
"""How long a program may take to end before it is killed, where a test does not wait for its end."""

ENDED_S: Final = 30.0
"""How long a program that is waited for may take to end: shards have 3.5 s of the 5 s that nh promises for
SIGTERM and SIGINT, and all else needs CPUs that others use, too."""

READY_S: Final = 60.0
"""How long a program may take to print a line: to start takes a second of a CPU that others use, too."""

LAST_LINES: Final = 20
READ_BYTES: Final = 65_536


class Program(Closing):
    """A running program whose output (both streams) is collected.

    It is a process group of its own: Ctrl-C in the terminal reaches the caller, which ends the program. As a
    context manager it sends SIGTERM at the end, and SIGKILL if the program does not end by that. A program
    that its caller has not closed, because Ctrl-C came before the context began, is closed when this process
    ends.

    Args:
        arguments: the command line.
        environment: variables to add to those of this process.
        cpus: the CPUs that the program may use; None: those of this process.
        interactive: whether `write` may be used; otherwise its standard input is empty.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        cpus: Iterable[int] | None = None,
        interactive: bool = False,
    ) -> None:
        self.arguments = list(arguments)
        self._lines: list[str] = []
        self._unfinished = ""
        self._decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), True)
        self._changed = threading.Condition()
        self._ended = False
        with signals_held(), running_on(cpus) if cpus is not None else contextlib.nullcontext():
            # a signal that raises in Popen would leave a process that no program knows
            self._process = subprocess.Popen(
                self.arguments,
                stdin=subprocess.PIPE if interactive else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
                process_group=0,
            )
            os.set_blocking(self._stream.fileno(), False)
            self._reader = threading.Thread(target=self._read, name=f"output of {self.pid}", daemon=True)
            self._reader.start()
            atexit.register(self.close)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    @property
    def lines(self) -> list[str]:
        """The lines of its output, with all that it had written when this is asked.

        What it writes before it answers a request is there once the answer is, however late the thread is
        that reads.
        """
        with self._changed:
            self._take()
            return list(self._lines)

    @property
    def output(self) -> str:
        """Its output so far."""
        return "\n".join(self.lines)

    def last_output(self) -> str:
        """The last lines of its output so far."""
        return "\n".join(self.lines[-LAST_LINES:])

    def write(self, text: str) -> None:
        """Write to the standard input of an interactive program."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended, which the next reading shows
            self._process.stdin.write(text.encode())

    def wait_for_line(self, text: str = "", *, first: int = 0, timeout_s: float = READY_S) -> str:
        """Return the first line that contains `text`.

        Args:
            text: what the line contains.
            first: the index of the first line to look at.
            timeout_s: the longest wait, seconds.

        Raises:
            HarnessError: the program ends, or the time is over, without such a line.
        """

        def found() -> str | None:
            return next((line for line in self._lines[first:] if text in line), None)

        with self._changed:
            self._changed.wait_for(lambda: self._ended or found() is not None, timeout_s)
            line = found()
        if line is None:
            if self._ended:
                with contextlib.suppress(subprocess.TimeoutExpired):  # its output ends just before itself
                    self._process.wait(STOP_S)
            raise HarnessError(f"{self.arguments} did not print {text!r}. Its output:\n{self.output}")
        return line

    def wait_until(self, holds: Callable[[], object], what: str, timeout_s: float = READY_S) -> None:
        """Return as soon as `holds()` is true.

        Raises:
            HarnessError: the program ends, or the time is over, before.
        """
        eventually(lambda: self.ended or holds(), what, timeout_s, details=self.last_output)
        if self.ended:
            raise HarnessError(f"{self.arguments} ended: not {what}. Its output:\n{self.output}")

    def wait(self, timeout_s: float = ENDED_S) -> int:
        """Return its exit status, once it has ended by itself. Raises HarnessError if it does not."""
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise HarnessError(
                f"{self.arguments} still runs after {timeout_s:g} s. Its output:\n{self.output}"
            ) from None
        self._reader.join(timeout_s)
        return status

    def stop(self, signum: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end. Returns its exit status (negative: the signal that ended it)."""
        self._process.send_signal(signum)
        return self.wait()

    def kill(self) -> None:
        """End it at once (SIGKILL). Its children may live on, and may still write to its output."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it: by SIGTERM, or by SIGKILL if it still runs after STOP_S."""
        atexit.unregister(self.close)
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._reader.join(STOP_S)
        if not self._reader.is_alive():
            self._stream.close()

    @property
    def _stream(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _read(self) -> None:
        """Read what it writes as soon as it does: it never waits for room in the pipe."""
        readable = select.poll()
        readable.register(self._stream, select.POLLIN)
        while not self._ended:
            readable.poll()
            with self._changed:
                self._take()

    def _take(self) -> None:
        """Take what it has written so far. To be called with the lock."""
        with contextlib.suppress(BlockingIOError):
            while not self._ended:
                data = os.read(self._stream.fileno(), READ_BYTES)
                self._ended = not data
                text = self._unfinished + self._decoder.decode(data, final=self._ended)
                *lines, self._unfinished = text.split("\n")
                if self._ended and self._unfinished:
                    lines.append(self._unfinished)
                self._lines += lines
                self._changed.notify_all()


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Ctrl-C and SIGTERM, where they raise an exception, do so behind the context.

    No effect outside the main thread, which alone handles signals.
    """
    came: list[int] = []
    if threading.current_thread() is threading.main_thread():
        signums = [each for each in (signal.SIGINT, signal.SIGTERM) if callable(signal.getsignal(each))]
    else:
        signums = []
    before = {signum: signal.signal(signum, lambda signum, _: came.append(signum)) for signum in signums}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
        if came:
            signal.raise_signal(came[0])


@contextlib.contextmanager
def running_on(cpus: Iterable[int]) -> Iterator[None]:
    """This thread, and every process that it starts meanwhile, runs on these CPUs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)

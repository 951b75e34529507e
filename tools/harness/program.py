"""A program run by a test: started, read line by line, ended by its process id."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Self

STOP_S = 5.0
"""How long a program may take to end; nh promises this for SIGTERM and SIGINT."""


class Program:
    """A running program whose output (both streams) is collected in `lines`.

    Arguments:
        arguments: the command line.
        environment: variables to add to this process's own.

    As a context manager it ends the program, by SIGKILL if it does not go by SIGTERM.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.arguments = list(arguments)
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._process = subprocess.Popen(
            self.arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
        )
        self._reader = threading.Thread(target=self._read, name=f"output of {self.pid}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    @property
    def output(self) -> str:
        """Everything that it has said so far."""
        return "\n".join(self.lines)

    def wait_for_line(self, text: str, timeout_s: float = 20.0) -> str:
        """The first line with `text` in it.

        Raises AssertionError if the program ends, or `timeout_s` goes by, without one.
        """

        def said() -> bool:
            return self._ended or any(text in line for line in self.lines)

        with self._changed:
            self._changed.wait_for(said, timeout_s)
            for line in self.lines:
                if text in line:
                    return line
        raise AssertionError(f"{self.arguments} never said {text!r}; it said:\n{self.output}")

    def wait(self, timeout_s: float = STOP_S) -> int:
        """Its exit status, once it has ended by itself. Raises AssertionError if it does not."""
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.arguments} still runs after {timeout_s} s; it said:\n{self.output}"
            ) from None
        self._reader.join(timeout_s)
        return status

    def stop(self, signum: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit status (negative: the signal it died of)."""
        self._process.send_signal(signum)
        return self.wait()

    def kill(self) -> None:
        """End it at once (SIGKILL). What it started may live on, and say something where it did."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join(STOP_S)
        if not self._reader.is_alive():
            self._stream.close()

    @property
    def _stream(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _read(self) -> None:
        for line in self._stream:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

"""The smallest relays, in Python and in C: what any relay costs that has two system calls for each packet."""

import math
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks.peers.interface import NotHere, SetUp, Site, descriptor_limit
from benchmarks.streams import Phones, Stream
from tools.harness import HarnessError
from tools.harness.program import Program

SOURCE: Final = Path(__file__).parents[1] / "floor_relay.c"
SOCKETS_PER_CALL: Final = 2


class PythonFloor:
    """See Peer. It has as many processes as the descriptor limit wants, all on the same CPU.

    Args:
        coalesce_s: it waits so long for more packets after each turn, 0 (not at all) to 0.02 seconds.
    """

    client = ""
    patience_s = math.inf
    max_calls = 14_000
    why_not_more = "one address has 28,232 ephemeral ports"

    def __init__(self, coalesce_s: float = 0.0) -> None:
        self._coalesce_s = coalesce_s
        self._calls_per_process = descriptor_limit() // SOCKETS_PER_CALL
        self._processes: list[Program] = []
        self._site: Site | None = None

    def start(self, site: Site) -> None:
        """One process, until more are needed."""
        self._site = site
        self._processes.append(self._start_process(site))

    def set_up(self, numbers: range, phones: Phones) -> SetUp:
        """One line for each call on standard input, one back."""
        assert self._site is not None
        streams = []
        start = time.perf_counter()
        for number in numbers:
            index = number // self._calls_per_process
            if index == len(self._processes):
                self._processes.append(self._start_process(self._site))
            ports = self._add_call(self._processes[index], number, phones)
            caller, callee = phones.of_call(number)
            for source, port, sink in ((caller, ports[0], callee), (callee, ports[1], caller)):
                streams.append(Stream(source, (self._site.address, port), sink))
        return SetUp(streams, time.perf_counter() - start)

    def pids(self) -> list[int]:
        """All of them."""
        return [process.pid for process in self._processes]

    def stop(self) -> None:
        """End them."""
        while self._processes:
            self._processes.pop().close()

    def _add_call(self, process: Program, number: int, phones: Phones) -> list[int]:
        caller, callee = phones.endpoints(number)
        answers = len(process.lines)
        process.write(f"{caller[0]} {caller[1]} {callee[0]} {callee[1]}\n")
        return [int(word) for word in process.wait_for_line(first=answers).split()]

    def _start_process(self, site: Site) -> Program:
        command = [*self._command(site), site.address, str(self._coalesce_s)]
        process = Program(command, cpus=[site.cpu], interactive=True)
        try:
            process.wait_for_line()
        except HarnessError:
            process.close()
            raise
        return process

    def _command(self, _: Site) -> list[str]:
        return [sys.executable, "-m", "benchmarks.floor_relay"]


class CFloor(PythonFloor):
    """The same in C, compiled when it starts."""

    def _command(self, site: Site) -> list[str]:
        program = site.directory / "floor_relay"
        if program.exists():
            return [str(program)]
        compiler = shutil.which("cc")
        if compiler is None:
            raise NotHere("there is no C compiler (cc)")
        try:
            subprocess.run(
                [compiler, "-O2", "-o", program, SOURCE], check=True, capture_output=True, text=True
            )
        except subprocess.CalledProcessError as exc:
            raise NotHere(f"floor_relay.c does not compile: {exc.stderr.strip()[-500:]}") from exc
        return [str(program)]

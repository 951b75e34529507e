"""How relays are told of calls: Perl's Net::SIP client, or one of the load generator's controls."""

import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from benchmarks.peers.interface import NotHere, SetUp
from benchmarks.streams import Phones, Stream
from tools.harness import HarnessError
from tools.harness.program import running_on
from tools.rtpload.controls.interface import Control
from tools.rtpload.ends import Endpoint, MediaEnd, TransactionKey

SCRIPT: Final = Path(__file__).with_name("set_up_calls.pl")
TIMEOUT_S: Final = 300.0


def require_net_sip() -> None:
    """Raises NotHere without Perl or its Net::SIP."""
    if shutil.which("perl") is None:
        raise NotHere("there is no perl")
    if subprocess.run(["perl", "-MNet::SIP", "-e1"], capture_output=True, check=False).returncode:
        raise NotHere("Perl has no Net::SIP (Debian: libnet-sip-perl)")


def set_up_by_perl(address: str, listen: str, cpu: int, numbers: range, phones: Phones) -> SetUp:
    """Calls through one Perl process with an unmodified Net::SIP::NATHelper::Client.

    Args:
        address: HOST:PORT of the relay's commands.
        listen: where it shall take media.
        cpu: where Perl runs.
        numbers: of the calls.
        phones: the ends of the calls.

    Raises:
        HarnessError: the client dies, or the relay refuses.
    """
    lines = []
    for number in numbers:
        caller, callee = phones.endpoints(number)
        lines.append(f"{number} {caller[0]} {caller[1]} {callee[0]} {callee[1]}\n")
    with running_on([cpu]):
        done = subprocess.run(
            ["perl", str(SCRIPT), address, listen],
            input="".join(lines),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    answers = done.stdout.split("\n")
    if done.returncode or len(answers) != len(numbers) + 2:
        raise HarnessError(f"set_up_calls.pl, talking to {address}: {done.stderr.strip()[-500:]}")
    streams = []
    for number, answer in zip(numbers, answers, strict=False):
        for_caller, for_callee = (Endpoint(listen, int(port)) for port in answer.split())
        streams += _streams(number, phones, for_caller, for_callee)
    return SetUp(streams, float(answers[len(numbers)]))


def set_up_by_control(control: Control, numbers: range, phones: Phones, *, tear_down: bool = False) -> SetUp:
    """Calls through a control of the load generator, in this process; `tear_down` ends each at once.

    Raises:
        NhError: a call cannot be set up.
    """
    streams = []
    start = time.perf_counter()
    for number in numbers:
        caller, callee = (_media_end(*endpoint) for endpoint in phones.endpoints(number))
        key = TransactionKey(f"call-{number}@benchmarks", f"from-{number}", f"to-{number}", 1)
        targets = control.negotiate(key, caller, callee, hold=False)
        if tear_down:
            control.tear_down(key)
        streams += _streams(number, phones, targets.caller.rtp, targets.callee.rtp)
    return SetUp(streams, time.perf_counter() - start)


def _media_end(address: str, port: int) -> MediaEnd:
    return MediaEnd(Endpoint(address, port), Endpoint(address, port + 1))


def _streams(number: int, phones: Phones, for_caller: Endpoint, for_callee: Endpoint) -> list[Stream]:
    """Both directions: the caller sends to `for_caller`, the callee to `for_callee`."""
    caller, callee = phones.of_call(number)
    return [Stream(caller, for_caller, callee), Stream(callee, for_callee, caller)]

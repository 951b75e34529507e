"""`python -m tools.rtpengine_tests CHECKOUT [NAME]...`: which calls of rtpengine's tests pass with nh."""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

from tools.harness.program import Program
from tools.rtpengine_tests.split import interfaces_of, split_script

INTERFACES: Final = ("default/203.0.113.1", "default/2001:db8:4321::1", "foo/203.0.113.7", "bar/203.0.113.8")
"""The relay's where a script names none."""

PHONES: Final = ("198.51.0.0/16", "192.0.2.0/24")
"""Where the scripts open sockets."""

INSIDE: Final = "NH_RTPENGINE_TESTS_INSIDE"
SCRIPT_S: Final = 900.0
OUTCOMES: Final = ("passed\t", "failed\t")
PRELUDE: Final = "BEGIN { require '%s'; NGCP::Rtpengine::AutoTest->import } no strict; no warnings;\n"


def main() -> int:
    """Run the scripts in a network namespace of their own, and print what failed."""
    parser = argparse.ArgumentParser(prog="python -m tools.rtpengine_tests", description=__doc__)
    parser.add_argument("checkout", type=Path, help="a checkout of rtpengine's repository")
    parser.add_argument(
        "name", nargs="*", help="scripts: sdp-manipulations for t/auto-daemon-tests-sdp-manipulations.pl"
    )
    arguments = parser.parse_args()
    scripts = [
        arguments.checkout / "t" / f"auto-daemon-tests{name and '-' + name}.pl"
        for name in arguments.name or [""]
    ]
    if missing := [script for script in scripts if not script.is_file()]:
        parser.error(f"there is no {missing[0]}: {arguments.checkout} is no checkout, or has no such test")
    if INSIDE not in os.environ:
        command = ["unshare", "--net", sys.executable, "-m", "tools.rtpengine_tests", *sys.argv[1:]]
        return subprocess.run(command, env={**os.environ, INSIDE: "1"}, check=False).returncode
    _set_addresses()
    with tempfile.TemporaryDirectory(prefix="nh-rtpengine-tests-") as directory:
        for script in scripts:
            _run_script(script, Path(directory))
    return 0


def _set_addresses() -> None:
    """Give loopback all addresses of phones."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for network in PHONES:
        subprocess.run(["ip", "route", "add", "local", network, "dev", "lo"], check=True)


def _open_interfaces(script: str) -> list[str]:
    """Give loopback the relay's addresses that a script starts rtpengine with; returns nh's interfaces."""
    interfaces: list[str] = []
    for word in interfaces_of(script) or INTERFACES:
        name, equals, alias_of = word.partition("=")
        if equals:  # nh has no second names: an interface with the same address stands for one
            same = [each.partition("/")[2] for each in interfaces if each.startswith(f"{alias_of}/")]
            interfaces += [f"{name}/{address}" for address in same]
        else:
            interfaces.append(word if "/" in word else f"default/{word}")
    for address in {each.partition("/")[2] for each in interfaces}:
        length = "128" if ":" in address else "32"
        subprocess.run(["ip", "address", "replace", f"{address}/{length}", "dev", "lo"], check=True)
    return interfaces


def _run_script(script: Path, directory: Path) -> None:
    """Run one script against an nh of its own, and print its outcomes."""
    text = script.read_text(encoding="latin-1")
    common, calls = split_script(text)
    module = Path(__file__).with_name("AutoTest.pm")
    tests = "".join(f"T::run({call.line}, q\0{call.title}\0, sub {{\n{call.code}\n}});\n" for call in calls)
    program = directory / script.name
    program.write_text(PRELUDE % module + common + "\n" + tests, encoding="latin-1")
    words = [
        "run",
        "--ng",
        "127.0.0.1:2223",
        "--shards",
        "1",
        "--no-state",
        "--runtime-dir",
        str(directory / "nh"),
    ]
    for interface in _open_interfaces(text):
        words += ["--interface", interface]
    with Program([sys.executable, "-m", "nh", *words]) as nh:
        nh.wait_for_line("ready:")
        done = subprocess.run(
            ["perl", f"-I{script.parents[1] / 'perl'}", str(program)],
            capture_output=True,
            encoding="latin-1",
            timeout=SCRIPT_S,
            check=False,
            env={**os.environ, "RTPENGINE_EXTENDED_TESTS": "1"},  # scripts that take long end without it
        )
        _print_outcomes(script, done, len(calls))
        nh.stop()


def _print_outcomes(script: Path, done: "subprocess.CompletedProcess[str]", calls: int) -> None:
    lines = done.stdout.splitlines()  # the scripts and their modules print, too
    outcomes = [line.split("\t") for line in lines if line.startswith(OUTCOMES)]
    for outcome, line, title, why in outcomes:
        if outcome == "failed":
            print(f"{script.name}:{line}: {title}: {why}")
    counts = Counter(outcome for outcome, *_ in outcomes)
    print(f"{script.name}: {counts['passed']} of {calls} passed {done.stderr[:300]}".strip(), flush=True)


if __name__ == "__main__":
    sys.exit(main())

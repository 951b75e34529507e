"""What the container's systemd runs: nh is installed as a service, and all scenarios are tried.

Exit status 0: every promise held; 1: some did not; 2: it could not be tried.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tools.systemd.trial.console import report, tell
from tools.systemd.trial.scenarios import NAMES, scenarios
from tools.systemd.trial.unit import run

SYSTEMD: Final = Path(__file__).parents[1]
INSTALLATION: Final = (
    ("install", "-D", "-m", "644", f"{SYSTEMD}/nh.sysusers.conf", "/etc/sysusers.d/nh.conf"),
    ("systemd-sysusers",),
    ("install", "-m", "644", f"{SYSTEMD}/nh.service", "/etc/systemd/system/"),
    ("systemctl", "daemon-reload"),
    ("systemctl", "enable", "nh"),
)
"""As docs/how-to/systemd.md has it."""


def main() -> int:
    """The program; its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, required=True)
    parser.add_argument("names", nargs="*", default=NAMES)
    arguments = parser.parse_args()
    try:
        _install()
    except subprocess.CalledProcessError as exc:
        tell(f"{' '.join(exc.cmd)}: {exc.stderr}")
        return 2
    tell(f"{run('systemctl', '--version').stdout.splitlines()[0]}, Linux {run('uname', '-r').stdout}")
    failed = 0
    chosen = list(scenarios(frozenset(arguments.names)))
    for scenario in chosen:
        began = time.monotonic()
        seen = scenario.play(arguments.calls)
        failed += bool(seen.failures)
        report(scenario.name, scenario.promised, seen, time.monotonic() - began)
    tell(f"{len(chosen)} scenarios, {failed} in which a promise did not hold")
    return 1 if failed else 0


def _install() -> None:
    for words in INSTALLATION:
        subprocess.run(words, check=True, capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main())

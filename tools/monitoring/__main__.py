"""`python -m tools.monitoring`: write nh-dashboard.json anew."""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import json
from pathlib import Path

from tools.monitoring.dashboard import dashboard

PATH = Path(__file__).with_name("nh-dashboard.json")


def text() -> str:
    """What the file has."""
    return json.dumps(dashboard(), indent=2) + "\n"


def main() -> None:
    """Write the file."""
    argparse.ArgumentParser(prog="python -m tools.monitoring", description=__doc__).parse_args()
    PATH.write_text(text())


if __name__ == "__main__":
    main()

"""`python -m tools.monitoring`: write nh-dashboard.json anew."""

import json
from pathlib import Path

from tools.monitoring.dashboard import dashboard

PATH = Path(__file__).with_name("nh-dashboard.json")


def text() -> str:
    """What the file has."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    PATH.write_text(text())

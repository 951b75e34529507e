"""What a test has the system say to a relay; see injected/sitecustomize.py."""

from pathlib import Path

DAY_S = 86_400
YEAR_S = 365 * DAY_S


class Faults:
    """The faults that are there now.

    Args:
        directory: where relays look for them.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def begin(self, fault: str, said: object) -> None:
        """From now on the system says this, in `socket`, `watch`, `watch_rpc`, `clock_s` or `boot_id`."""
        written = self._directory / f"{fault}.new"
        written.write_text(str(said), encoding="ascii")
        written.rename(self._directory / fault)  # it is never read in part

    def end(self, fault: str) -> None:
        """The system is well again."""
        (self._directory / fault).unlink()

"""What an ng request wants beside its command: options for the relay, switches for the command, and the rest.

A wish is granted (an option or a switch), needs nothing because nh does that anyway, is left out and named in
the reply's warning, or cannot be left out: then the request is refused.
"""

from typing import Any

from nh.errors import MalformedRequest, Unsupported


class Wishes:
    """The wishes of one request, as far as they have been read."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}  # fields of nh.commands.OfferOptions
        self.switches: set[str] = set()  # fatal, fast, to-tag, directional, all, load limit
        self.ignored: dict[str, None] = {}
        self.refusal: str = ""
        self.complaint: str = ""

    def grant(self, option: str, value: object = True) -> None:
        """An option of nh.commands.OfferOptions."""
        self.options[option] = value

    def ignore(self, what: str) -> None:
        """It changes nothing, and the reply's warning says so."""
        self.ignored[what] = None

    def refuse(self, what: str, why: str) -> None:
        """The whole request cannot be executed without it; the first of such wishes is told."""
        self.refusal = self.refusal or f"Not supported by nh: {what} ({why})"

    def complain(self, what: str) -> None:
        """A value cannot be read; the first one is told."""
        self.complaint = self.complaint or what

    def check(self) -> None:
        """Raise MalformedRequest or Unsupported if the request cannot be executed as it is wished."""
        if self.complaint:
            raise MalformedRequest(self.complaint)
        if self.refusal:
            raise Unsupported(self.refusal)

    @property
    def warning(self) -> str:
        """For the reply, "" for none."""
        return f"Ignored by nh: {', '.join(list(self.ignored)[:16])[:512]}" if self.ignored else ""

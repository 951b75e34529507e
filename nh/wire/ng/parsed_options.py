"""The result of parsing the flags and keys of one ng request, beside those that its command itself reads.

Each flag and each key does one of four things: it sets an option or a switch; it asks for what nh does in any
case and changes nothing; it is ignored and named in the reply's warning; or it makes the request fail.
"""

from typing import Any

from nh.errors import MalformedRequest, Unsupported


class ParsedOptions:
    """What the flags and keys of one request ask for.

    Attributes:
        options: values for fields of nh.commands.OfferOptions, by field name.
        switches: how the command runs: any of fatal, fast, to-tag, directional, all, "load limit".
    """

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.switches: set[str] = set()
        self._ignored: dict[str, None] = {}
        self._unsupported = ""
        self._error = ""

    def set(self, option: str, value: object = True) -> None:
        """Set a field of nh.commands.OfferOptions."""
        self.options[option] = value

    def ignore(self, what: str) -> None:
        """Record a flag or value that changes nothing, for the reply's warning."""
        self._ignored[what] = None

    def unsupported(self, what: str, why: str) -> None:
        """Record a flag or value that nh cannot ignore: check() raises Unsupported for the first one."""
        self._unsupported = self._unsupported or f"{what} ({why})"

    def error(self, message: str) -> None:
        """Record a value that cannot be read: check() raises MalformedRequest for the first one."""
        self._error = self._error or message

    def check(self) -> None:
        """Return if the request can be executed as asked.

        Raises:
            MalformedRequest: a value cannot be read.
            Unsupported: the request asks for something that nh does not do.
        """
        if self._error:
            raise MalformedRequest(self._error)
        if self._unsupported:
            raise Unsupported(self._unsupported)

    @property
    def warning(self) -> str:
        """The reply's warning: what was ignored; "" if nothing was."""
        return f"Ignored by nh: {', '.join(list(self._ignored)[:16])[:512]}" if self._ignored else ""

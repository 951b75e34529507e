"""The result of parsing the flags and keys of one ng request, beside those that its command itself reads.

Each flag and each key does one of four things: it sets an option or a switch; it asks for what nh does in any
case and changes nothing; it is ignored and named in the reply's warning; or it makes the request fail. What
makes it fail is left out with a warning instead, where the setting `ng_unsupported` says so.
"""

import functools
from collections.abc import Collection
from typing import Any

import msgspec

from nh.commands import PLAIN_TEXT, Feature, OfferOptions, SdpText
from nh.errors import MalformedRequest, Unsupported
from nh.printable import escaped
from nh.wire.ng.unsupported import Gap


class ParsedOptions:
    """What the flags and keys of one request ask for.

    Args:
        lenient: features that are left out, with a warning, where they would fail the request otherwise.

    Attributes:
        options: values for fields of nh.commands.OfferOptions, by field name.
        switches: how the command runs: any of fatal, fast, to-tag, directional, all,
            except-offer-answer, "load limit".
        added: names and values of the keys in the string `rtpp-flags`, in order.
    """

    def __init__(self, lenient: Collection[Feature]) -> None:
        self.options: dict[str, Any] = {"lenient": frozenset(lenient)} if lenient else {}
        self.switches: set[str] = set()
        self.added: list[tuple[bytes, object]] = []
        self._lenient = lenient
        self._ignored: dict[str, None] = {}
        self._left_out: dict[str, None] = {}
        self._unsupported = ""
        self._error = ""

    @functools.cached_property
    def offer_options(self) -> OfferOptions:
        """The options of an offer or answer; not before all are set."""
        return OfferOptions(**self.options)

    def set(self, option: str, value: object = True) -> None:
        """Set a field of nh.commands.OfferOptions."""
        self.options[option] = value

    @property
    def text(self) -> SdpText:
        """What is to be changed in the text of the SDP alone, so far."""
        text: SdpText = self.options.get("text", PLAIN_TEXT)
        return text

    def set_text(self, field: str, value: object = True) -> None:
        """Set a field of nh.commands.SdpText."""
        self.options["text"] = msgspec.structs.replace(self.text, **{field: value})

    def ignore(self, what: str) -> None:
        """Record a flag or value that changes nothing, for the reply's warning."""
        self._ignored[what] = None

    def unsupported(self, what: str, gap: Gap) -> None:
        """Record a flag or value that nh cannot ignore: check() raises Unsupported for the first one."""
        text = f"{what} ({gap.why})"
        if gap.feature in self._lenient:
            self._left_out[text] = None
        else:
            self._unsupported = self._unsupported or text

    def error(self, message: str) -> None:
        """Record a value that cannot be read: check() raises MalformedRequest for the first one."""
        self._error = self._error or message

    def check(self) -> None:
        """Return if the request can be executed as asked, or without what may be left out.

        Raises:
            MalformedRequest: a value cannot be read.
            Unsupported: the request asks for something that nh does not do.
        """
        if self._error:
            raise MalformedRequest(escaped(self._error))
        if self._unsupported:
            raise Unsupported(escaped(self._unsupported))

    @functools.cached_property
    def ignored(self) -> str:
        """What was ignored, for the reply's warning; "" if nothing was."""
        return _listed(self._ignored)

    @functools.cached_property
    def left_out(self) -> str:
        """What was left out that fails a request otherwise, for the warning and the log; "" for nothing."""
        return _listed(self._left_out)


def _listed(texts: Collection[str]) -> str:
    return escaped(", ".join(list(texts)[:16])[:512])

"""The lines of an SDP body as received, and edits that keep all other lines byte for byte.

The module knows line ends, not the meaning of lines.
"""

import operator
from collections.abc import Sequence
from itertools import chain, repeat

import msgspec

_CRLF = b"\r\n"

_text_and_end = operator.attrgetter("text", "end")


class Line(msgspec.Struct, frozen=True, gc=False):
    """One line: its text and its end: CRLF, LF, a bare CR, or, for the last line, nothing."""

    text: bytes
    end: bytes

    @property
    def blank(self) -> bool:
        """Whether it has only spaces, tabs and NUL bytes, with which some peers pad a body."""
        return not self.text.strip(b" \t\0")


def split_lines(body: bytes) -> tuple[Line, ...]:
    """The lines of `body`; their texts and ends, joined, are `body`."""
    count = body.count(_CRLF)
    if body.endswith(_CRLF) and body.count(b"\r") == count == body.count(b"\n"):  # as nearly all bodies
        return tuple(map(Line, body[:-2].split(_CRLF), repeat(_CRLF)))
    return tuple([_make_line(raw) for raw in body.splitlines(keepends=True)])


def _make_line(raw: bytes) -> Line:
    text = raw.rstrip(_CRLF)
    return Line(text, raw[len(text) :])


class Edits:
    """Changes of lines, collected and then rendered at once. Indexes are those of the original lines.

    Args:
        lines: the original lines.
    """

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines
        self._texts: dict[int, bytes | None] = {}
        self._inserted: dict[int, list[bytes]] = {}

    def text(self, index: int) -> bytes:
        """The original text of a line."""
        return self._lines[index].text

    def replace(self, index: int, text: bytes) -> None:
        """Replace the text of a line; its end stays."""
        self._texts[index] = text

    def drop(self, index: int) -> None:
        """Remove a line with its end."""
        self._texts[index] = None

    def delete(self, index: int) -> None:
        """Remove a line, and what was inserted after it before."""
        self.drop(index)
        self._inserted.pop(index, None)

    def insert_after(self, index: int, text: bytes) -> None:
        """Insert a line, with the same end, after another one and after those inserted there before.

        The other line may be dropped.
        """
        self._inserted.setdefault(index, []).append(text)

    @property
    def new_bytes(self) -> int:
        """How many bytes the new texts have: render() returns as many, and those of the other lines."""
        replaced = sum(len(text) for text in self._texts.values() if text is not None)
        return replaced + sum(len(text) for texts in self._inserted.values() for text in texts)

    def render(self) -> bytes:
        """The body with all changes."""
        # texts and ends in turn; few lines change, so none is looked at that does not
        parts: list[bytes] = list(chain.from_iterable(map(_text_and_end, self._lines)))
        for index, text in self._texts.items():
            if text is None:
                parts[2 * index] = parts[2 * index + 1] = b""
            else:
                parts[2 * index] = text
        for index, texts in self._inserted.items():
            end = self._lines[index].end
            if end:
                parts[2 * index + 1] += b"".join([text + end for text in texts])
            else:
                parts[2 * index] = self._end_with(index, texts)
        return b"".join(parts)

    def _end_with(self, index: int, inserted: Sequence[bytes]) -> bytes:
        """The last line, which has no end, and what is inserted after it: now the last of these has none."""
        usual_end = next((line.end for line in self._lines if line.end), _CRLF)
        last = self._texts.get(index, self._lines[index].text)
        return usual_end.join(inserted if last is None else (last, *inserted))

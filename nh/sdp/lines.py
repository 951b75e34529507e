"""The lines of an SDP body as received, and edits that keep all other lines byte for byte.

The module knows line ends, not the meaning of lines.
"""

from collections.abc import Sequence

import msgspec

_CRLF = b"\r\n"


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
        return tuple([Line(text, _CRLF) for text in body[:-2].split(_CRLF)])
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
        texts, inserted = self._texts, self._inserted
        parts: list[bytes] = []  # texts and ends in turn
        for index, line in enumerate(self._lines):
            end = line.end
            text = texts.get(index, line.text)
            if text is not None:
                parts += (text, end)
            if index in inserted:
                for new in inserted[index]:
                    parts += (new, end)
        if self._lines and not self._lines[-1].end:
            self._end_all_but_last(parts)
        return b"".join(parts)

    def _end_all_but_last(self, parts: list[bytes]) -> None:
        """Give an end to lines after which others were inserted, and which had none as they were the last."""
        usual_end = next((line.end for line in self._lines if line.end), _CRLF)
        parts[1:-1:2] = [end or usual_end for end in parts[1:-1:2]]

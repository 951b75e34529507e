"""The lines of an SDP body exactly as they came, and edits that touch nothing but their own lines.

Knows line ends, not what a line means.
"""

from collections.abc import Sequence
from typing import NamedTuple

_CRLF = b"\r\n"


class Line(NamedTuple):
    """One line: its text, and its own end: CRLF, LF, a bare CR, or nothing (the last line only)."""

    text: bytes
    end: bytes

    @property
    def blank(self) -> bool:
        """Whether there is nothing to read in it; some peers pad a body with NUL bytes or spaces."""
        return not self.text.strip(b" \t\0")


def split_lines(body: bytes) -> tuple[Line, ...]:
    """The lines of `body`; their texts and ends joined are `body` again."""
    return tuple(_make_line(raw) for raw in body.splitlines(keepends=True))


def _make_line(raw: bytes) -> Line:
    text = raw.rstrip(_CRLF)
    return Line(text, raw[len(text) :])


class Edits:
    """Changes to lines, collected and then rendered in one go.

    Arguments:
        lines: the lines as they came.

    Indexes are those of `lines`, whatever was edited before.
    """

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines
        self._texts: dict[int, bytes | None] = {}
        self._inserted: dict[int, list[bytes]] = {}

    def text(self, index: int) -> bytes:
        """The line as it came."""
        return self._lines[index].text

    def replace(self, index: int, text: bytes) -> None:
        """Give a line another text; its end stays."""
        self._texts[index] = text

    def drop(self, index: int) -> None:
        """Remove a line, its end too."""
        self._texts[index] = None

    def insert_after(self, index: int, text: bytes) -> None:
        """Add a line behind another one (and behind what was inserted there before), with the same end.

        The other line may be one that is dropped.
        """
        self._inserted.setdefault(index, []).append(text)

    def render(self) -> bytes:
        """The body with all changes made."""
        result: list[Line] = []
        for index, line in enumerate(self._lines):
            text = self._texts.get(index, line.text)
            if text is not None:
                result.append(Line(text, line.end))
            result.extend(Line(inserted, line.end) for inserted in self._inserted.get(index, ()))
        # a body whose last line has no end may have got lines behind that one
        usual_end = next((line.end for line in self._lines if line.end), _CRLF)
        return b"".join(
            line.text + (line.end or (usual_end if position < len(result) else b""))
            for position, line in enumerate(result, start=1)
        )

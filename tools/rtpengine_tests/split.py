"""A test script of rtpengine's, taken apart into its calls.

A script is one run from top to bottom, which ends with the first reply that it does not expect. Here each
call, from one `new_call` to the next, is a test by itself.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

_OPENS: Final = re.compile(r"if|for|while|unless|els|sub|eval|do|SKIP:|\{")
_BLOCK: Final = re.compile(r"\{\s*(?:#.*)?$")
_CLOSES: Final = re.compile(r"\}\s*;?\s*$")
_CONDITIONAL: Final = re.compile(r"if \(\$(?:extended_tests|ENV)")
_HEREDOC: Final = re.compile(r'<<"?(\w+)"?')
_NEW_CALL: Final = re.compile(r"(?!sub|use|#)(?:\s+|\S.*\b)?new_call(?:_nc)?\b")
_STATEMENT: Final = re.compile(r"(?:my )?\(|(?:my )?[$@]\w+ = |new_call")
_TITLE: Final = re.compile(r"(?:offer|answer|rtpe_req|publish)\((?:'[a-z ]+', )?'([^']*)'")
_DECLARATION: Final = re.compile(r"^my (?=[($@])")
_MODULES: Final = re.compile(r"^use (?:strict|warnings|NGCP::|Test::More|Test2::).*$", re.MULTILINE)


_START: Final = re.compile(r"^autotest_start\(qw\((.*?)\)", re.DOTALL | re.MULTILINE)


class Call(NamedTuple):
    """One call of a script.

    Attributes:
        line: its first line in the script.
        title: what the script calls it.
        code: its lines, in Perl.
    """

    line: int
    title: str
    code: str


def interfaces_of(text: str) -> list[str]:
    """The interfaces that a script starts rtpengine with: ADDRESS, NAME/ADDRESS, or NAME=OTHER."""
    start = _START.search(text)
    words = start[1].split() if start else []
    return [after for before, after in itertools.pairwise(words) if before == "-i"]


def split_script(text: str) -> tuple[str, list[Call]]:
    """What all calls of a script need (variables, functions), and the calls."""
    lines = _without_conditions(text.split("\n"))
    starts = sorted({*_starts(lines)})
    ends = (index for index in range(len(lines) - 1, 0, -1) if lines[index].startswith("done_testing"))
    end = next(ends, len(lines))
    calls = []
    for start, after in zip(starts, [*starts[1:], end], strict=True):
        # variables of one call are those of all, as in the script
        code = "\n".join(_DECLARATION.sub("", line) for line in lines[start:after])
        titled = _TITLE.search(code)
        calls.append(Call(start + 1, titled[1] if titled else "untitled", code))
    return _MODULES.sub("", "\n".join(lines[: starts[0]])), calls


def _without_conditions(lines: Sequence[str]) -> list[str]:
    """The lines without the `if` around what only some runs of the script have."""
    result = []
    depth = 0
    for line in lines:
        if not depth:
            depth = bool(_CONDITIONAL.match(line))
            result.append("" if depth else line)
            continue
        depth += bool(_OPENS.match(line) and _BLOCK.search(line)) - bool(_CLOSES.match(line))
        result.append(line if depth else "")
    return result


def _starts(lines: Sequence[str]) -> Iterator[int]:
    """Indexes of the statements that begin a call, outside of blocks and of texts."""
    depth = 0
    text_until: str | None = None
    for index, line in enumerate(lines):
        if text_until is not None:
            text_until = None if line == text_until else text_until
            continue
        if (heredoc := _HEREDOC.search(line)) and not line.lstrip().startswith("#"):
            text_until = heredoc[1]
        if _OPENS.match(line) and _BLOCK.search(line):
            depth += 1
        elif _CLOSES.match(line) and depth:
            depth -= 1
        elif not depth and _NEW_CALL.match(line):
            start = index
            while not _STATEMENT.match(lines[start]):
                start -= 1
            yield start

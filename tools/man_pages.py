"""`python -m tools.man_pages DIRECTORY`: a man page for nh and for each of its commands.

They are made of the command line itself and say what `--help` says, so they cannot fall behind it.
"""

from .ending import end_in_order  # the package is nh.bundled.tools in a wheel

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from nh.cli.examples import EXAMPLES
from nh.cli.main import app, notes_on
from nh.version import __version__

from .arguments import new_directory

_DOCS = (
    "docs/reference in the source of nh, /usr/share/doc/nh/docs/reference in the Debian package, has all"
    " settings, counters and protocols."
)

_ENVIRONMENT = (
    ("NH_CONFIG", "the TOML file with settings; --config goes before it"),
    ("NH_NAME", "the setting of this name, such as NH_RUNTIME_DIR; an option goes before it"),
    ("NO_COLOR", "if it is set, no command prints colours"),
)

_STATUSES = (
    ("0", "done"),
    ("1", "nh does not run, refuses, or cannot start now"),
    ("2", "a setting or the command line cannot be used"),
    ("3", "nh why has found a problem; nh move left some calls as they were saved before"),
)


def main() -> int:
    """Write the pages; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.man_pages",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument(
        "directory", type=new_directory, metavar="DIRECTORY", help="it is made if it is not there"
    )
    directory: Path = parser.parse_args().directory
    for name, text in pages():
        (directory / name).write_text(text)
    return 0


def pages() -> Iterator[tuple[str, str]]:
    """(file name, text in troff) of each page."""
    from typer.main import get_command  # noqa: PLC0415

    group: Any = get_command(app)
    commands = {name: group.commands[name] for name in group.commands} | {"load": _load_generator()}
    yield "nh.1", "\n".join(_overview(group, commands)) + "\n"
    for name, command in commands.items():
        yield f"nh-{name}.1", "\n".join(_page(name, command)) + "\n"


def _load_generator() -> Any:
    """The program behind `nh load`, which reads its own command line."""
    from typer.main import get_command  # noqa: PLC0415

    sys.path.insert(0, str(Path(__file__).parents[1]))  # where `tools` is, in a wheel, too
    try:
        from tools.rtpload.cli import app as generator  # noqa: PLC0415
    finally:
        sys.path.pop(0)
    return get_command(generator)


def _overview(group: Any, commands: dict[str, Any]) -> Iterator[str]:
    yield from _head("nh", _first_line(group.help))
    yield from (".SH SYNOPSIS", r".B nh", r".I COMMAND", r"[\fIOPTIONS\fR]", ".SH COMMANDS")
    for name, command in commands.items():
        yield from (".TP", rf"\fBnh\-{_text(name)}\fR(1)", _text(_first_line(command.help)))
    context = group.make_context("nh", [], resilient_parsing=True)
    yield from _parameters("OPTIONS", group.get_params(context), context)
    yield from _table("ENVIRONMENT", _ENVIRONMENT)
    yield from _table("EXIT STATUS", _STATUSES)
    yield from (".SH SEE ALSO", ", ".join(rf"\fBnh\-{name}\fR(1)" for name in commands), ".PP", _text(_DOCS))


def _page(name: str, command: Any) -> Iterator[str]:
    context = command.make_context(name, [], resilient_parsing=True)
    options = [each for each in command.get_params(context) if not getattr(each, "hidden", False)]
    arguments = [each for each in options if each.param_type_name == "argument"]
    yield from _head(f"nh-{name}", _first_line(command.help))
    words = " ".join(map(_synopsis_of, arguments))
    yield from (".SH SYNOPSIS", rf".B nh {_text(name)}", rf"[\fIOPTIONS\fR] {words}".rstrip())
    yield ".SH DESCRIPTION"
    for number, paragraph in enumerate((command.help or "").strip().split("\n\n")):
        yield from (*([".PP"] if number else []), _text(" ".join(paragraph.split())))
    yield from _parameters("ARGUMENTS", arguments, context)
    panels: dict[str, list[Any]] = {}
    for each in options:
        if each not in arguments:
            panels.setdefault(getattr(each, "rich_help_panel", None) or "Options", []).append(each)
    for panel, members in panels.items():
        yield from _parameters(panel.upper(), members, context)
    if notes := notes_on(name):
        yield from (".SH NOTES", _text(" ".join(notes.split())))
    if EXAMPLES.get(name):
        yield ".SH EXAMPLES"
        for line, what in EXAMPLES[name]:
            yield from (".TP", rf"\fB{_text(line)}\fR", _text(what))
    yield from (".SH SEE ALSO", r"\fBnh\fR(1)", ".PP", _text(_DOCS))


def _table(title: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield f".SH {title}"
    for name, what in rows:
        yield from (".TP", rf"\fB{_text(name)}\fR", _text(what))


def _synopsis_of(argument: Any) -> str:
    """An argument in the synopsis: in brackets if it may be left out, with dots if there may be several."""
    name = rf"\fI{_text(_metavar(argument))}\fR"
    return f"{name if argument.required else f'[{name}]'}{' ...' if argument.nargs == -1 else ''}"


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name).strip("[]")


def _value_of(option: Any, context: Any) -> str:
    """What the help calls the value of an option; of a few words, all of them."""
    return str(option.metavar or option.display_type_rich(context)).strip("<>")


def _parameters(title: str, parameters: list[Any], context: Any) -> Iterator[str]:
    if parameters:
        yield f".SH {_text(title)}"
    for each in parameters:
        names = [*each.opts, *each.secondary_opts] if each.param_type_name != "argument" else []
        takes_value = names and not getattr(each, "is_flag", False)
        label = ", ".join(rf"\fB{_text(name)}\fR" for name in names) or rf"\fI{_text(_metavar(each))}\fR"
        value = rf" \fI{_text(_value_of(each, context))}\fR" if takes_value else ""
        yield from (".TP", label + value, _text(_help_of(each)))


def _help_of(parameter: Any) -> str:
    """What the help says of a parameter, with its default where that is a value."""
    text = " ".join((parameter.help or "").split())
    default = parameter.default
    shown = parameter.show_default and isinstance(default, str | int | float) and default not in ("", False)
    value = getattr(default, "value", default)
    return f"{text} (default: {value})" if shown and not getattr(parameter, "is_flag", False) else text


def _head(name: str, what: str) -> Iterator[str]:
    # a package's build says which day counts, so that the same source makes the same package
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    day = time.strftime("%Y-%m-%d", time.gmtime(seconds))
    yield f'.TH {_text(name.upper())} 1 "{day}" "nh {__version__}" "nh"'
    yield from (".SH NAME", rf"{_text(name)} \- {_text(what.rstrip('.'))}")


def _first_line(text: str | None) -> str:
    """The first sentence."""
    paragraph = " ".join((text or "").strip().split("\n\n")[0].split())
    return paragraph.partition(". ")[0].rstrip(".")


def _text(text: str) -> str:
    """Text for troff, in which backslashes, hyphens and a dot at the beginning have a meaning."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("…", "...")
    return re.sub(r"^([.\'])", r"\\&\1", escaped)


if __name__ == "__main__":
    sys.exit(main())

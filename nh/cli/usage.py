"""What is wrong with a command line, in nh's words; typer's parser has words of its own."""

import difflib
import re
from collections.abc import Iterable
from typing import Any, Final

from nh.printable import show_text

_SHOWN: Final = 80

_FEW: Final = 4


def usage_message(error: Any, program: str = "nh") -> str:
    """One line about a command line that typer's parser cannot read, from the parser's error.

    Args:
        error: a USAGE_ERROR of nh.cli.parser.
        program: what the program is called; behind it comes the subcommand, if there is one.
    """
    kind = type(error).__name__
    inside = error.ctx is not None and error.ctx.parent is not None
    command = f"{program} {error.ctx.info_name}" if inside else program
    more = f"`{command} --help` lists all"
    if kind == "NoSuchOption":
        more += _behind_dashes(error.ctx) + _behind_command(error.ctx)
        remedy = _remedy(error.option_name, _options(error.ctx), more)
        return f"command line: {command} has no option {_cut(error.option_name)}; {remedy}"
    if kind == "MissingParameter":
        return f"command line: {command} needs {_name(error.param)}; see `{command} --help`"
    if kind == "BadOptionUsage":
        lacks = "takes no value" if "not take a value" in error.message else "needs a value"
        return f"command line: {error.option_name} {lacks}; `--help` says which"
    if kind == "BadParameter" and error.param is not None:
        return f"command line: {_name(error.param)}: {_bad_value(error)}; see `{command} --help`"
    if found := re.search(r"unexpected extra arguments?(?:\(s\))? \((.*)\)", error.message, re.DOTALL):
        return f"command line: {command} takes no argument '{_cut(found[1])}'; see `{command} --help`"
    return f"command line: {_cut(error.message)}; see `{command} --help`"


def no_command(name: str, commands: Iterable[str]) -> str:
    """One line about a subcommand that nh does not have."""
    remedy = _remedy(name, commands, "`nh --help` lists all")
    return f"command line: nh has no command '{_cut(name)}'; {remedy}"


def _bad_value(error: Any) -> str:
    """What is wrong with a value that typer could not convert."""
    if found := re.search(r"('.*') is not one of (.*?)\.?$", error.message, re.DOTALL):
        return f"{_cut(found[1])} is not one of {found[2].replace(chr(39), '')}"
    value = getattr(error, "value", None)
    shown = f"'{_cut(value)}'" if isinstance(value, str) else "the value"
    if found := re.search(r"a valid (integer|number)", error.message):
        return f"{shown} is not a {'whole number' if found[1] == 'integer' else 'number'}"
    return f"{shown} cannot be used"


def _options(ctx: Any) -> list[str]:
    parameters = ctx.command.get_params(ctx) if ctx is not None else []
    return [name for each in parameters for name in each.opts if name.startswith("--")]


def _behind_dashes(ctx: Any) -> str:
    """How a value that begins with a dash is given, where the command takes one that phones choose."""
    parameters = ctx.command.get_params(ctx) if ctx is not None else []
    taken = (each.metavar for each in parameters if each.param_type_name == "argument")
    return ", and a CALL-ID that begins with - goes behind --" if "CALL-ID" in taken else ""


def _behind_command(ctx: Any) -> str:
    """Where the options of subcommands go, if the option stands before all subcommands."""
    return (
        ", and options of a command go behind it"
        if ctx is not None and hasattr(ctx.command, "commands")
        else ""
    )


def _name(param: Any) -> str:
    """An option as it is typed, an argument as the help calls it."""
    option = next((name for name in param.opts if name.startswith("-")), None)
    return option or str(param.metavar or param.name)


def _remedy(name: str, known: Iterable[str], more: str) -> str:
    bare = {each.lstrip("-"): each for each in known}  # the dashes make all options similar
    word = name[:_SHOWN].lstrip("-")
    found = difflib.get_close_matches(word, list(bare), n=1, cutoff=0.7) or _longer(word, bare)
    return f"did you mean {' or '.join(bare[each] for each in found)}?" if found else more


def _longer(word: str, known: Iterable[str]) -> list[str]:
    """The names of which a word is the first part, as `log` of `log-level`; none if they are many."""
    found = sorted(each for each in known if each.startswith(f"{word}-"))
    return found if len(found) <= _FEW else []


def _cut(text: str) -> str:
    return show_text(text[:_SHOWN])

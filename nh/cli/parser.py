"""How the command line is read: typer's parser, which converts text with pydantic only where it must."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer
from typer.core import TyperArgument, TyperCommand, TyperOption

# typer names only one of its parser's errors; its bases are the same in every version of typer
USAGE_ERROR: Final[type[Any]] = typer.BadParameter.__mro__[1]
"""A command line that the parser cannot read."""


class Parameters:
    """What nh's commands and groups of commands have in common: how options are read and shown."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, as typer's parser takes them."""
        return take_text_as_it_is(super().get_params(ctx))  # type: ignore[misc]  # typer's, of the class beside

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        from nh.cli.help import keep_names_whole  # noqa: PLC0415  only help draws tables

        keep_names_whole()
        super().format_help(ctx, formatter)  # type: ignore[misc]  # as above


class Command(Parameters, TyperCommand):
    """A subcommand."""


def take_text_as_it_is(params: list[Any]) -> list[Any]:
    """Let typer convert only numbers and paths that are given.

    typer converts every value with pydantic, even text, and even one that is not given; loading
    pydantic costs each command 0.1 s and 15 MB.

    Args:
        params: of a command or group; they are changed.

    Returns:
        `params`.
    """
    for param in params:
        if type(param) in _KINDS:
            param.__class__ = _KINDS[type(param)]
    return params


class _Option(TyperOption):
    def process_value(self, ctx: Any, value: Any) -> Any:
        if _is_plain(self, value):
            return _processed(self, ctx, value)
        with _naming(value):
            return super().process_value(ctx, value)

    def display_type_rich(self, ctx: Any) -> Any:
        """What the help shows beside the option: nothing beside one that takes no value."""
        if getattr(self, "is_flag", False):
            return None
        kind = super().display_type_rich(ctx)
        from nh.cli.help import KINDS  # noqa: PLC0415  as above

        return KINDS.get(str(kind), kind)


class _Argument(TyperArgument):
    def process_value(self, ctx: Any, value: Any) -> Any:
        if _is_plain(self, value):
            return _processed(self, ctx, value)
        with _naming(value):
            return super().process_value(ctx, value)

    def display_type_rich(self, ctx: Any) -> Any:  # noqa: ARG002
        """What the help shows beside the argument: nothing, because its text says what it is."""
        return None


@contextmanager
def _naming(value: object) -> Iterator[None]:
    """Have an error of typer's conversion carry the value, which its message may not name."""
    try:
        yield
    except typer.BadParameter as exc:
        vars(exc)["value"] = value
        raise


def _is_plain(param: TyperOption | TyperArgument, value: object) -> bool:
    descriptor = getattr(param, "type_descriptor", None)
    if descriptor is None:  # typer before 0.29, which has no pydantic
        return False
    if value is None:
        return not param.required
    if isinstance(value, str):
        return bool(descriptor.annotation is str)
    return True  # on or off, several texts, or the default


def _processed(param: TyperOption | TyperArgument, ctx: Any, value: Any) -> Any:
    return value if param.callback is None else param.callback(ctx, param, value)


_KINDS: Final[dict[type, type]] = {TyperOption: _Option, TyperArgument: _Argument}

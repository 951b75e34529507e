"""One option of typer for each setting: those of the commands that read the settings.

Types and defaults come from nh.config.Settings itself, so that there is one place for them.
"""

import enum
import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Final, get_type_hints

import typer

from nh.cli.flags import FLAGS, PROCESS
from nh.cli.options import completing
from nh.config import Settings
from nh.config.table import NO_STATE
from nh.errors import ConfigError

_HINTS: Final = get_type_hints(Settings)
_DEFAULTS: Final = Settings()


def help_text(name: str) -> str:
    """What `nh run --help` says of a setting: its meaning, range, unit and default."""
    flag = FLAGS[name]
    default = getattr(_DEFAULTS, name)
    text = flag.help
    if flag.low is not None and flag.high is not None:
        text += f"; {flag.low:g} to {flag.high:.15g} {flag.unit}".rstrip()
    if flag.default:
        return f"{text} (default: {flag.default})"
    if isinstance(default, bool):
        return f"{text} (default: {'yes' if default else 'no'})"
    number = isinstance(default, int | float)
    return f"{text} (default: {f'{default:g} {flag.unit}'.rstrip() if number else str(default)})"


_NO_STATE: Final = inspect.Parameter(
    "no_state",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool,
        typer.Option(
            "--no-state",
            help=f"Store no calls: the same as --state {NO_STATE}.",
            show_default=False,
            rich_help_panel=PROCESS,
        ),
    ],
)


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` a keyword-only option for each setting, None where it was not given, and --no-state.

    Args:
        command: takes them as **settings, after options of its own.
    """

    @functools.wraps(command)
    def with_settings(*, no_state: bool, **options: Any) -> None:
        if no_state:
            if options["state"] not in (None, NO_STATE):
                raise ConfigError(
                    "command line: --state and --no-state contradict each other; say one of them"
                )
            options["state"] = NO_STATE
        command(**options)

    own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
    flags = [(name, _parameter(name)) for name in FLAGS]
    settings = [each for name, flag in flags for each in ((flag, _NO_STATE) if name == "state" else (flag,))]
    vars(with_settings)["__signature__"] = inspect.Signature([*own, *settings])
    return with_settings


def _parameter(name: str) -> inspect.Parameter:
    flag = FLAGS[name]
    setting = _HINTS[name]
    # numbers and words are text here: nh.config.sources converts them, as it does those of the environment
    hint: Any = bool if setting is bool else list[str] if setting == tuple[str, ...] else str
    words: list[str] = list(setting) if isinstance(setting, enum.EnumMeta) else []
    metavar = flag.metavar or ("TIME" if flag.unit == "s" else "N" if flag.low is not None else None)
    option = typer.Option(
        help=help_text(name),
        rich_help_panel=flag.panel,
        metavar=metavar,
        show_default=False,
        autocompletion=completing(words) if words else None,
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[hint | None, option]
    )

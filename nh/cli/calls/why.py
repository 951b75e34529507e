"""`nh why`: whether the media of a call flow, and if not, why and what to do."""

from collections.abc import Iterator
from typing import Final

import typer

from nh.cli.calls.call_id import read_id
from nh.cli.calls.commands import CallId, naming
from nh.cli.json_text import json_text
from nh.cli.options import AsJson, ConfigFile, RpcAddress, RuntimeDir, connect
from nh.cli.terminal import coloured, tell
from nh.printable import show_id, show_text
from nh.verdict import CallVerdict, State, judge_call

EPILOG: Final = "The exit status is 0 if all media flow or none are expected yet, and 3 at a problem."

PROBLEM: Final = 3
"""The exit status for a call with a problem; 1 is that of errors."""

_COLOURS: Final = {
    State.OK: typer.colors.GREEN,
    State.WAITING: typer.colors.YELLOW,
    State.PROBLEM: typer.colors.RED,
}


def why(
    call_id: CallId,
    *,
    as_json: AsJson = False,
    rpc: RpcAddress = None,
    runtime_dir: RuntimeDir = None,
    config: ConfigFile = None,
) -> None:
    """Say for each direction of a call whether media flow, and if not, the likely cause and what to do.

    Of a call that has ended, it says so as of its end.
    """
    from nh.cli.calls.ended import how_it_ended  # noqa: PLC0415  rich takes a while to import
    from nh.cli.calls.output import find_call  # noqa: PLC0415

    wanted = read_id(call_id)
    with naming(wanted), connect(config, runtime_dir, rpc) as client:
        call = find_call(client, wanted)
    judged = judge_call(call)
    if as_json:
        tell(json_text(judged))
    else:
        for line in _lines(judged, how_it_ended(judged.ended) if judged.ended is not None else ""):
            tell(line)
    if judged.has_problem:
        raise typer.Exit(PROBLEM)


def _lines(judged: CallVerdict, ended: str) -> Iterator[str]:
    """What is told of a call; `ended`: how it ended, "" while it goes on."""
    verdicts = judged.verdicts
    yield f"call {show_id(judged.call_id)}"
    if ended:
        yield f"  {ended}"
    if not verdicts:
        has, yet = ("had", "") if ended else ("has", " yet")
        yield f"  no media: the call {has} ports, and no session between two ends{yet}"
    for verdict in verdicts:
        state = coloured(verdict.state, _COLOURS[verdict.state])
        way = "from → to" if verdict.sender == "from" else "to → from"
        yield f"  {show_text(verdict.kind) or 'medium'} {verdict.medium}, {way}: {state}"
        yield f"    {show_text(verdict.found)}"
        addresses = (verdict.announced, verdict.seen, verdict.sent_to)
        announced, seen, sent_to = (show_text(each) if each else "nothing" for each in addresses)
        advertised = show_text(verdict.advertised)
        yield f"    told to send to {advertised}, announced {announced}, seen {seen}, sent to {sent_to}"
        if verdict.cause:
            yield f"    likely: {verdict.cause}"
            yield f"    do: {verdict.remedy}"
    for look in dict.fromkeys(verdict.filter for verdict in verdicts if verdict.state is State.PROBLEM):
        watch = "in a capture of it: tcpdump -nr FILE" if ended else "to watch: tcpdump -ni any"
        yield f"  {watch} '{look}'"

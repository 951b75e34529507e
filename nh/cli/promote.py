"""`nh promote`: a standby takes the calls of a relay, which is asked to give them."""

import time
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from nh.cli.json_text import json_text
from nh.cli.options import AsJson, ConfigFile, RpcAddress, RuntimeDir, connect_to, settings_of
from nh.cli.terminal import outlived, tell
from nh.commands import GetStats, Promote
from nh.errors import NhError, Unavailable
from nh.printable import counted

if TYPE_CHECKING:
    from nh.client import NativeClient

EPILOG = (
    "Without --force, the relay that has the calls is asked for them, and relays on until this one has them. "
    "--force takes them from a relay that lives and does not let go: it ends when it learns so, and what it "
    "has not written is lost."
)

REPLY_S: Final = 10.0
"""How long a relay may take for a command."""

DONE_S: Final = 15.0
"""The calls are asked for that long."""

POLL_S: Final = 0.05


class Promoted(msgspec.Struct, frozen=True):
    """The outcome of a promotion.

    Attributes:
        group: whose calls: the prefix of the store.
        calls: how many calls the relay has now.
        took_s: seconds since the command began.
    """

    group: str
    calls: int
    took_s: float


def promote(
    *,
    group: Annotated[
        str, typer.Argument(metavar="NAME", help="Whose calls, if it is a standby for several relays")
    ] = "",
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Take the calls even if their relay does not let go", show_default=False
        ),
    ] = False,
    as_json: AsJson = False,
    rpc: RpcAddress = None,
    runtime_dir: RuntimeDir = None,
    config: ConfigFile = None,
) -> None:
    """Have a standby take the calls of a relay now, and wait until it serves them."""
    settings = settings_of(config, runtime_dir, rpc)
    began = time.monotonic()
    with connect_to(settings, timeout_s=REPLY_S) as client:
        promoting = client.request(Promote(group, force))
    if promoting.holder and not as_json:
        tell(f"the relay {promoting.holder} is asked for its calls …", err=True)
    with outlived("the promotion goes on, and `nh health` says whether this relay has the calls"):
        calls = _wait_until_serving(settings.rpc_addresses[0], promoting.holder, began)
    done = Promoted(promoting.group, calls, round(time.monotonic() - began, 3))
    if as_json:
        tell(json_text(done))
    else:
        tell(f"this relay serves {done.group} now: {counted(calls, 'call')}; {done.took_s:.1f} s")


def _wait_until_serving(address: str, holder: str, began: float) -> int:
    """Wait until the relay at `address` serves; returns the number of its calls."""
    from nh.client import NativeClient  # noqa: PLC0415  clients take a while to import

    while time.monotonic() < began + DONE_S:
        try:
            with NativeClient(address, timeout_s=REPLY_S) as client:
                if (calls := _calls_served(client)) is not None:
                    return calls
        except NhError:
            pass  # it is between both
        time.sleep(POLL_S)
    why = f"the relay {holder} does not let go of its calls" if holder else "it is no active relay yet"
    raise Unavailable(
        f"{why} after {DONE_S:g} s; its log and that of the standby say why; nh promote --force takes them"
        " all the same"
    )


def _calls_served(client: "NativeClient") -> int | None:
    values = client.request(GetStats()).values
    supervisor, totals = values["supervisor"], values["totals"]
    assert isinstance(supervisor, dict)
    assert isinstance(totals, dict)
    return int(totals["calls"]) if supervisor["serving"] else None

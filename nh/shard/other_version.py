"""A shard of another version than the nh that started it: nh was upgraded on the disk, and a shard died.

The shard goes on with the calls as its version, until `nh upgrade` brings that to all processes. The
statistics and the memory of legs say what form they have (nh.stats.tables, nh.shard.media.leg_memory). What
remains is looked at here, before the shard touches anything.
"""

from nh.calls.snapshots.version import READABLE
from nh.errors import Unavailable
from nh.fastpath.layout import FORMAT
from nh.ipc.link_messages import Configure
from nh.version import __version__


def refuse_foreign_calls(configure: Configure) -> None:
    """Refuse to start where the calls, or their flows in the kernel, are not readable.

    The supervisor has the calls, and starts a shard again and again: it can be of the right version then.

    Raises:
        Unavailable: says what to do.
    """
    what = ""
    if configure.snapshots not in READABLE:
        what = f"the calls of that one (version {configure.snapshots})"
    elif configure.kernel is not None and configure.kernel.format not in ("", FORMAT):
        what = "what that one has in the kernel"
    if what:
        raise Unavailable(
            f"nh {__version__} was installed while another version runs, and cannot read {what}: install that"
            " version again, and the shard starts; or restart nh"
        )

"""The tags of the messages between processes of nh, which may be of different versions.

An nh that is installed somewhere sends and reads these: one may be added, and none goes or changes, also
where its class gets another name.
"""

from typing import get_args

import msgspec

from nh.commands import RelayCommand
from nh.ipc.handover_messages import FromOld, ToOld
from nh.ipc.link_messages import FromShard, ToShard
from nh.results import RelayResult


def tags(*messages: type[msgspec.Struct]) -> str:
    return " ".join(sorted(str(message.__struct_config__.tag) for message in messages))


def test_handover() -> None:
    assert tags(*get_args(FromOld)) == (
        "call_sockets connections ended_call handed_over handover hello save_call"
    )
    assert tags(*get_args(ToOld)) == "exit taken_over transfer yield"


def test_link() -> None:
    assert tags(*get_args(ToShard)) == (
        "configure detach execute fork hold_links reconfigure recorded refuse_new_calls restore restore_call "
        "save_all serve shutdown take_flows take_new_calls take_sockets"
    )
    assert tags(*get_args(FromShard)) == (
        "all_saved configured drop_call executed forked media_timed_out no_calls_left ready release_sockets "
        "restored restoring rtcp_seen save_call store_sockets waiting"
    )


def test_commands_and_results() -> None:
    assert tags(*get_args(RelayCommand)) == (
        "activate allocate answer block_media close close_call delete delete_all delete_sessions list lookup "
        "offer query query_session show update"
    )
    assert tags(*get_args(RelayResult)) == (
        "activated allocated blocked call_detail call_list closed failure queried relay_port rewritten "
        "session_counters"
    )

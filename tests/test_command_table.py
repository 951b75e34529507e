"""nh.command_table: one row a command, and every codec has exactly the names of its rows."""

from typing import get_args

import pytest

from nh.command_table import COMMANDS, INFO, CommandInfo, CommandRoute
from nh.commands import CallCommand, Command, DeleteAll, ListCalls, RelayCommand
from nh.results import RelayResult, Result
from nh.stats import ShardStats
from nh.wire.native.requests import DECODERS as NATIVE
from nh.wire.netsip.codec import REQUESTS as NETSIP
from nh.wire.ng.requests import REQUESTS as NG
from nh.wire.rtpproxy.requests import REQUESTS as RTPPROXY

rows = pytest.mark.parametrize("info", COMMANDS, ids=lambda info: info.command.__name__)


def test_every_command_has_one_row() -> None:
    assert len(COMMANDS) == len(INFO)
    assert set(INFO) == set(get_args(Command))


@rows
def test_the_result_is_the_one_that_the_type_declares(info: CommandInfo) -> None:
    (base,) = info.command.__orig_bases__  # type: ignore[attr-defined]
    assert get_args(base) == (info.result,)
    assert info.result in get_args(Result)


def test_codecs_read_exactly_the_commands_of_their_rows() -> None:
    assert set(NETSIP) == {info.netsip for info in COMMANDS} - {""}
    assert set(NATIVE) == {info.native for info in COMMANDS} - {""}
    assert {name.decode() for name in NG} == {name for info in COMMANDS for name in info.ng}
    assert set(RTPPROXY) == {name for info in COMMANDS for name in info.rtpproxy.split()}


@rows
def test_the_route_goes_where_the_command_can_be_executed(info: CommandInfo) -> None:
    if info.route is CommandRoute.SUPERVISOR:
        assert info.command not in get_args(RelayCommand)
    else:
        assert info.command in get_args(
            CallCommand if info.route is CommandRoute.CALL_SHARD else ListCalls | DeleteAll
        )
        assert info.result in get_args(RelayResult)


@rows
def test_what_shards_execute_is_counted(info: CommandInfo) -> None:
    counters = {f"{info.counters}_{outcome}" for outcome in ("ok", "refused", "failed")}
    assert (info.counters != "") == (info.route is not CommandRoute.SUPERVISOR)
    assert not info.counters or counters <= set(ShardStats.__dataclass_fields__)


@rows
def test_only_commands_about_one_call_change_it(info: CommandInfo) -> None:
    assert not info.changes_call or info.route is CommandRoute.CALL_SHARD

import os
from pathlib import Path

import pytest

from nh.address import MAX_PATH_BYTES, TcpAddress, UnixAddress, parse_rpc_address
from nh.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7070", TcpAddress("127.0.0.1", 7070)),
        ("localhost:1", TcpAddress("localhost", 1)),
        ("0.0.0.0:65535", TcpAddress("0.0.0.0", 65535)),
        ("[::1]:7070", TcpAddress("::1", 7070)),
        ("127.0.0.1:0", TcpAddress("127.0.0.1", 0)),
        ("/run/nh/nh.sock", UnixAddress("/run/nh/nh.sock")),
        ("./nh.sock", UnixAddress("./nh.sock")),
        ("/no/such/dir/", UnixAddress("/no/such/dir/socket")),
        ("/run/with:5060", UnixAddress("/run/with:5060")),
    ],
)
def test_addresses_are_told_apart_by_a_slash(text: str, address: UnixAddress | TcpAddress) -> None:
    assert parse_rpc_address(text) == address


def test_an_existing_directory_means_the_socket_in_it(tmp_path: Path) -> None:
    assert parse_rpc_address(str(tmp_path)) == UnixAddress(str(tmp_path / "socket"))


@pytest.mark.parametrize("text", ["127.0.0.1:7070", "[::1]:7070", "/run/nh/nh.sock"])
def test_the_text_form_is_read_back(text: str) -> None:
    assert str(parse_rpc_address(text)) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "neither a path"),
        ("nh.sock", "neither a path"),
        ("7070", "neither a path"),
        (":7070", "no host"),
        ("[]:7070", "no host"),
        ("::1:7070", "brackets"),
        ("localhost:", "port ''"),
        ("localhost:http", "port 'http'"),
        ("localhost:65536", "port '65536'"),
        ("localhost:-1", "port '-1'"),
        ("localhost:\u0667", "port"),
        ("localhost:" + "9" * 5000, "port"),
        ("/run/nh\0", "NUL"),
        ("/run/" + "x" * 300, f"more than the kernel's {MAX_PATH_BYTES}"),  # no name of a file is so long
        ("/run/" + "x" * MAX_PATH_BYTES, f"more than the kernel's {MAX_PATH_BYTES}"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse_rpc_address(text)


def test_the_longest_path_is_accepted() -> None:
    text = "/" + "x" * (MAX_PATH_BYTES - 1)
    assert parse_rpc_address(text) == UnixAddress(text)


@pytest.mark.skipif(os.geteuid() == 0, reason="needs a user that is not root, who may not look everywhere")
def test_a_path_in_a_directory_that_is_closed_to_this_user_is_read(tmp_path: Path) -> None:
    """Whether the socket may be used is said where it is used."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    assert parse_rpc_address(f"{closed}/nh.sock") == UnixAddress(f"{closed}/nh.sock")

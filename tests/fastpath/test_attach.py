"""In network namespaces: the program is on interfaces, and nothing is left of it."""

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from nh.fastpath.attach import AttachMode, clsact
from nh.fastpath.attach.attachments import Attachments
from nh.fastpath.netlink.interfaces import InterfaceWatch, NetworkInterface
from nh.loop import SelectorLoop
from tests.fastpath.trivial_program import create_link, kernel_has_tcx, tcx_programs, trivial_program
from tools.harness.namespaces import Namespace
from tools.harness.waiting import TIMEOUT_S, turn_until

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("no_descriptor_leaks")]

NAME = "nh-test"


@pytest.fixture
def program(namespace: Namespace) -> Iterator[int]:
    with trivial_program() as descriptor:
        yield descriptor


@pytest.fixture
def one(namespace: Namespace) -> NetworkInterface:
    """An interface that is up and has an address."""
    return add_interface(namespace, "one")


def add_interface(namespace: Namespace, name: str, number: int = 1) -> NetworkInterface:
    namespace.run(
        f"ip link add {name} type veth peer name {name}-peer",
        f"ip link set {name} up",
        f"ip address add 10.0.{number}.1/24 dev {name}",
    )
    return NetworkInterface(socket.if_nametoindex(name), name, 1500)


class Observer:
    """Looks from outside at which interfaces have the program."""

    def __init__(self, namespace: Namespace, method: AttachMode) -> None:
        self._namespace = namespace
        self._method = method

    def programs_on(self, name: str) -> int:
        if self._method is AttachMode.TCX:
            return tcx_programs(socket.if_nametoindex(name))
        return self._namespace.run(f"tc filter show dev {name} ingress").count(NAME)


@pytest.fixture(params=[AttachMode.TCX, AttachMode.CLSACT])
def method(request: pytest.FixtureRequest) -> AttachMode:
    wanted: AttachMode = request.param
    if wanted is AttachMode.TCX and not kernel_has_tcx():
        pytest.skip("needs Linux 6.6 for TCX")
    return wanted


@pytest.fixture
def observer(namespace: Namespace, method: AttachMode) -> Observer:
    return Observer(namespace, method)


def filters(namespace: Namespace, name: str = "one") -> str:
    return namespace.run(f"tc filter show dev {name} ingress")


def has_clsact(namespace: Namespace, name: str = "one") -> bool:
    return "clsact" in namespace.run(f"tc qdisc show dev {name}")


def refuse(number: int) -> int:
    raise OSError(number, os.strerror(number))


def test_the_program_is_on_until_it_is_taken_off(
    program: int, method: AttachMode, observer: Observer, one: NetworkInterface
) -> None:
    attachments = Attachments(program, NAME, create_link, method)
    assert attachments.attach(one)
    assert observer.programs_on("one") == 1
    assert attachments.interfaces == [one]
    attachments.detach(one)
    assert observer.programs_on("one") == 0
    assert attachments.interfaces == []
    attachments.close()


def test_closing_takes_it_off_everywhere(
    namespace: Namespace, program: int, method: AttachMode, observer: Observer, one: NetworkInterface
) -> None:
    two = add_interface(namespace, "two", 2)
    attachments = Attachments(program, NAME, create_link, method)
    attachments.update([one, two], [])
    assert observer.programs_on("one") == observer.programs_on("two") == 1
    attachments.close()
    assert observer.programs_on("one") == observer.programs_on("two") == 0
    assert not has_clsact(namespace)


def test_attaching_again_leaves_it_on_once(
    program: int, method: AttachMode, observer: Observer, one: NetworkInterface
) -> None:
    attachments = Attachments(program, NAME, create_link, method)
    assert attachments.attach(one)
    assert attachments.attach(one)
    assert observer.programs_on("one") == 1
    attachments.close()


def test_packets_that_the_program_does_not_take_arrive(
    program: int, method: AttachMode, namespace: Namespace
) -> None:
    attachments = Attachments(program, NAME, create_link, method)
    assert attachments.attach(NetworkInterface(1, "lo", 65536))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT_S)
        sock.bind(("127.0.0.1", 0))
        sock.sendto(b"media", sock.getsockname())
        assert sock.recv(100) == b"media"
    attachments.close()


def test_an_interface_that_went_is_forgotten_without_a_word(
    namespace: Namespace,
    program: int,
    method: AttachMode,
    one: NetworkInterface,
    caplog: pytest.LogCaptureFixture,
) -> None:
    attachments = Attachments(program, NAME, create_link, method)
    assert attachments.attach(one)
    namespace.run("ip link delete one")
    assert not attachments.attach(one)
    attachments.detach(one)
    attachments.close()
    assert caplog.records == []


def test_interfaces_are_followed_and_one_with_the_index_of_another_is_served_anew(
    namespace: Namespace, loop: SelectorLoop, program: int, method: AttachMode, observer: Observer
) -> None:
    attachments = Attachments(program, NAME, create_link, method)
    watch = InterfaceWatch(loop, attachments.update)
    watch.start()
    assert observer.programs_on("lo") == 1
    one = add_interface(namespace, "one")
    turn_until(loop, lambda: observer.programs_on("one") == 1, "the new interface has the program")
    namespace.run("ip link delete one", f"ip link add one index {one.ifindex} type veth peer name other")
    namespace.run("ip link set one up", "ip address add 10.0.1.1/24 dev one")
    turn_until(loop, lambda: observer.programs_on("one") == 1, "so has its successor")
    watch.close()
    attachments.close()


def test_an_interface_that_cannot_be_served_costs_one_warning(
    program: int, one: NetworkInterface, caplog: pytest.LogCaptureFixture
) -> None:
    attachments = Attachments(program, NAME, lambda _, __: refuse(errno.EPERM))
    assert not attachments.attach(one)
    assert not attachments.attach(one)
    attachments.close()
    assert [record.getMessage() for record in caplog.records] == [
        "interface one: the kernel path cannot be attached, so its media stay in user space:"
        " Operation not permitted"
    ]


@pytest.mark.parametrize("answer", [errno.EINVAL, errno.EOPNOTSUPP, errno.E2BIG])
def test_a_kernel_without_tcx_gets_filters_and_that_is_told_once(
    namespace: Namespace, program: int, one: NetworkInterface, answer: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="nh")
    two = add_interface(namespace, "two", 2)
    attachments = Attachments(program, NAME, lambda _, __: refuse(answer))
    assert attachments.attach(one)
    assert attachments.attach(two)
    assert filters(namespace).count(NAME) == filters(namespace, "two").count(NAME) == 1
    attachments.close()
    assert len(caplog.records) == 1


def test_a_kernel_with_tcx_gets_links(namespace: Namespace, program: int, one: NetworkInterface) -> None:
    if not kernel_has_tcx():
        pytest.skip("needs Linux 6.6 for TCX")
    attachments = Attachments(program, NAME, create_link)
    assert attachments.attach(one)
    assert tcx_programs(one.ifindex) == 1
    assert not has_clsact(namespace)
    attachments.close()


def test_a_program_that_the_kernel_refuses_leaves_no_qdisc(
    namespace: Namespace, one: NetworkInterface
) -> None:
    with socket.socket() as not_a_program:
        attachments = Attachments(not_a_program.fileno(), NAME, create_link, AttachMode.CLSACT)
        assert not attachments.attach(one)
    assert not has_clsact(namespace)
    attachments.close()


def test_filters_can_be_attached_inside_a_running_asyncio_loop(
    namespace: Namespace, program: int, one: NetworkInterface
) -> None:
    async def attach() -> Attachments:
        attachments = Attachments(program, NAME, create_link, AttachMode.CLSACT)
        assert attachments.attach(one)
        return attachments

    attachments = asyncio.run(attach())
    assert filters(namespace).count(NAME) == 1
    attachments.close()


def test_a_filter_goes_behind_those_of_others_and_leaves_them_and_their_qdisc(
    namespace: Namespace, program: int, one: NetworkInterface
) -> None:
    namespace.run("tc qdisc add dev one clsact")
    foreign = Attachments(program, "another-program", create_link, AttachMode.CLSACT)
    assert foreign.attach(one)
    namespace.run("tc filter add dev one ingress pref 7 protocol all u32 match u32 0 0")
    before = filters(namespace)
    attachments = Attachments(program, NAME, create_link, AttachMode.CLSACT)
    assert attachments.attach(one)
    assert filters(namespace).startswith(before)
    assert NAME in filters(namespace)
    attachments.close()
    assert filters(namespace) == before
    foreign.close()
    assert has_clsact(namespace), "who made it keeps it"


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_a_qdisc_of_ours_stays_while_it_is_used(
    namespace: Namespace, program: int, one: NetworkInterface, direction: str
) -> None:
    attachments = Attachments(program, NAME, create_link, AttachMode.CLSACT)
    assert attachments.attach(one)
    namespace.run(f"tc filter add dev one {direction} pref 7 protocol all u32 match u32 0 0")
    attachments.close()
    assert "u32" in namespace.run(f"tc filter show dev one {direction}")
    assert NAME not in filters(namespace)


def run_and_kill(name: str, method: AttachMode) -> None:
    """Another process attaches to `one` and dies of SIGKILL."""
    code = f"""
import os, signal, socket
from nh.fastpath.attach.attachments import Attachments
from nh.fastpath.attach import AttachMode
from nh.fastpath.netlink.interfaces import NetworkInterface
from tests.fastpath.trivial_program import create_link, trivial_program
from tools.harness.waiting import turn_until
with trivial_program() as program:
    attachments = Attachments(program, {name!r}, create_link, AttachMode({method.value!r}))
    assert attachments.attach(NetworkInterface(socket.if_nametoindex("one"), "one", 1500))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_killed_run_leaves_no_link(one: NetworkInterface) -> None:
    if not kernel_has_tcx():
        pytest.skip("needs Linux 6.6 for TCX")
    run_and_kill(NAME, AttachMode.TCX)
    assert tcx_programs(one.ifindex) == 0


def test_the_filter_that_a_killed_run_left_is_removed_by_the_next_start(
    namespace: Namespace, program: int, one: NetworkInterface, method: AttachMode
) -> None:
    run_and_kill(NAME, AttachMode.CLSACT)
    assert filters(namespace).count(NAME) == 1
    Attachments(program, NAME, create_link, method).close()
    assert filters(namespace) == ""
    assert not has_clsact(namespace), "the killed run had made it"


def test_the_qdisc_that_a_run_left_is_used_again_and_not_made_anew(
    namespace: Namespace, program: int, one: NetworkInterface, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interface would lose what it sends meanwhile."""
    run_and_kill(NAME, AttachMode.CLSACT)
    with monkeypatch.context() as patch:
        patch.setattr(clsact, "_delete_qdisc_if_empty", lambda _: pytest.fail("it is deleted"))
        attachments = Attachments(program, NAME, create_link, AttachMode.CLSACT)
        attachments.update([one], [])
        assert filters(namespace).count(NAME) == 1
    attachments.close()
    assert not has_clsact(namespace), "the killed run had made it"


def test_the_qdisc_that_a_run_left_is_deleted_where_there_is_no_use_for_it(
    namespace: Namespace, program: int, one: NetworkInterface
) -> None:
    run_and_kill(NAME, AttachMode.CLSACT)
    attachments = Attachments(program, NAME, create_link, AttachMode.CLSACT)
    attachments.update([add_interface(namespace, "two", 2)], [])
    assert not has_clsact(namespace)
    attachments.close()


def test_what_a_killed_run_of_another_name_left_is_not_touched(
    namespace: Namespace, program: int, one: NetworkInterface
) -> None:
    run_and_kill("another-program", AttachMode.CLSACT)
    before = filters(namespace)
    attachments = Attachments(program, NAME, create_link, AttachMode.CLSACT)
    assert attachments.attach(one)
    attachments.close()
    assert "another-program" in before
    assert filters(namespace) == before

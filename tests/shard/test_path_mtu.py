"""Path MTU: when routes are looked up again for a path MTU that may have changed."""

import itertools

from nh.shard.media.kernel.path_mtu import FORGET_S, MAX_PAUSE_S, PAUSE_S, PathMtuWatch

TICK_S = 0.05


class Host:
    """What the watch sees of its host."""

    def __init__(self) -> None:
        self.messages = 0xFFFF_FFFF
        self.sysctls_changed = False
        self.looks = 0  # at the sysctls
        self.now = 1000.0
        self.watch = PathMtuWatch(lambda: self.messages, self._look)

    def _look(self) -> bool:
        self.looks += 1
        return self.sysctls_changed

    def due_within(self, seconds: float) -> float | None:
        """After how many seconds it is due; None: not within `seconds`."""
        begun = self.now
        while self.now < begun + seconds:
            self.now += TICK_S
            if self.watch.due(now=self.now):
                return self.now - begun
        return None


def test_nothing_is_due_while_nothing_changes() -> None:
    assert Host().due_within(60) is None


def test_a_message_is_due_at_the_turn_after_it_was_seen() -> None:
    """The kernel's routing learns from it after the program has counted it."""
    host = Host()
    host.messages = 0  # it wraps around
    assert not host.watch.certain
    assert not host.watch.due(now=host.now)
    assert not host.watch.certain
    assert host.watch.due(now=host.now + TICK_S)
    assert host.watch.certain
    assert not host.watch.due(now=host.now + 2 * TICK_S)


def test_a_message_during_a_look_up_is_followed_by_another() -> None:
    host = Host()
    host.messages = 1
    host.watch.due(now=host.now)
    host.messages = 2
    assert host.watch.due(now=host.now + TICK_S)
    assert not host.watch.certain
    assert host.due_within(2 * PAUSE_S + 1) is not None


def test_messages_that_never_end_are_followed_more_and_more_slowly() -> None:
    host = Host()
    times = []
    for _ in range(2000):
        host.messages += 1
        host.now += TICK_S
        if host.watch.due(now=host.now):
            times.append(host.now)
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert [round(pause) for pause in pauses[:6]] == [1, 2, 4, 8, 10, 10]
    assert all(pause <= MAX_PAUSE_S + 2 * TICK_S for pause in pauses)
    assert len(times) < 2000 * TICK_S / MAX_PAUSE_S + 5


def test_what_the_kernel_forgets_is_due_then() -> None:
    host = Host()
    host.watch.expect(host.now + 30)
    host.watch.expect(host.now + 5)
    first = host.due_within(60)
    assert first is not None
    assert 5 <= first < 5 + 2 * TICK_S
    assert host.due_within(60) is None


def test_what_a_message_has_shortened_is_forgotten_after_a_while_however_many_come() -> None:
    host = Host()
    assert not host.watch.is_forgotten(now=host.now + 2 * FORGET_S)
    begun = host.now
    while not host.watch.is_forgotten(now=host.now):
        host.messages += 1
        host.now += 1.0
        host.watch.due(now=host.now)
        assert host.now < begun + FORGET_S + 3
    assert host.now >= begun + FORGET_S
    assert not host.watch.is_forgotten(now=host.now + FORGET_S - 1)


def test_a_sysctl_is_due_within_a_second() -> None:
    host = Host()
    assert host.due_within(5) is None
    assert host.looks <= 6, "once a second"
    host.sysctls_changed = True
    found = host.due_within(5)
    assert found is not None
    assert found < 1.1

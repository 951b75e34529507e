"""What came of a soak, as plain values that become JSON or lines for people."""

import msgspec


class SoakReport(msgspec.Struct, frozen=True, kw_only=True):
    """One soak.

    Args:
        seed, minutes, kernel: what was asked for.
        faults: what was done, a line each.
        calls: how many there were.
        sent, lost, doubled: packets of all streams, RTP and RTCP; lost includes what the faults may cost.
        worst_gap_ms: the longest of all streams, where a fault may have been the reason.
        descriptors, memory_mib: of the relay: before the first call, most, after the last one.
        findings: what is wrong; empty: every promise was kept.
        interrupted: it was ended before its time.
    """

    seed: int
    minutes: float
    kernel: bool
    faults: tuple[str, ...]
    calls: int
    sent: int
    lost: int
    doubled: int
    worst_gap_ms: float
    descriptors: tuple[int, int, int]
    memory_mib: tuple[int, int, int]
    findings: tuple[str, ...]
    interrupted: bool

    def to_json(self) -> bytes:
        """The report as indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)

    def __str__(self) -> str:
        lines = [
            f"{self.minutes:g} minutes, seed {self.seed}, path: {'kernel' if self.kernel else 'user space'}",
            f"{len(self.faults)} faults, {self.calls} calls, {self.sent} packets sent, {self.lost} lost"
            f" (allowed ones included), {self.doubled} doubled; longest gap {self.worst_gap_ms:.0f} ms",
            f"descriptors before, at most, after: {_row(self.descriptors)}; MiB: {_row(self.memory_mib)}",
        ]
        if self.interrupted:
            lines.append("ended before its time")
        if not self.findings:
            return "\n".join([*lines, "Every promise was kept."])
        return "\n".join([*lines, f"{len(self.findings)} FINDINGS:", *self.findings])


def _row(figures: tuple[int, int, int]) -> str:
    return ", ".join(map(str, figures))

"""`nh doctor`: what the doctor found, for people and as JSON."""

import logging
from typing import Annotated, Any, Final

import msgspec
import typer

from nh.cli.options import AsJson, SettingsFile
from nh.cli.setting_options import takes_settings
from nh.cli.terminal import coloured, tell
from nh.config import check_served_addresses
from nh.config.sources import read_settings

EPILOG = "The exit status is 0 without a failure, also with warnings, and 1 with one; 2: a bad setting."

_COLOURS: Final = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "failure": typer.colors.RED}


@takes_settings
def doctor(
    config: SettingsFile = None,
    as_json: AsJson = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print warnings and failures only.", show_default=False)
    ] = False,
    **settings: Any,
) -> None:
    """Check this host: whether nh can start on it, and what would harm calls; takes the flags of nh run.

    It changes nothing. Run it as the user of nh: before the first call with the settings of nh, beside a
    running nh with its runtime directory.
    """
    loaded = read_settings(flags=settings, file=config)
    with loaded.naming_origins():
        check_served_addresses(loaded.settings)
    from nh.doctor.doctor import examine, worst  # noqa: PLC0415  it loads what nh run does
    from nh.doctor.findings import Finding, Status  # noqa: PLC0415
    from nh.doctor.patient import find_patient  # noqa: PLC0415

    logging.getLogger().addHandler(logging.NullHandler())  # the findings say what the checks would log
    findings: list[Finding] = []
    patient = find_patient(loaded, lambda file: read_settings(flags=settings, file=file))
    for finding in examine(patient):
        findings.append(finding)
        if not as_json and not (quiet and finding.status is Status.OK):
            _print(finding)
    if as_json:
        tell(msgspec.json.encode({"status": worst(findings), "findings": findings}))
    elif quiet and worst(findings) is Status.OK:
        tell("all is well")
    if worst(findings) is Status.FAILURE:
        raise typer.Exit(1)


def _print(finding: Any) -> None:
    status = coloured(f"{finding.status:<8}", _COLOURS[finding.status])
    tell(f"{status} {finding.check:<16} {finding.found}")
    if finding.meaning:
        tell(f"{'':25} {finding.meaning}")
    if finding.remedy:
        tell(f"{'':25} do: {finding.remedy}")

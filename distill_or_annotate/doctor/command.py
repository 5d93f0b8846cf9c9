"""`doa doctor`: what is installed and within reach, and for each problem the fix."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path

from distill_or_annotate import __version__
from distill_or_annotate.doctor import data, machine, packages, probe
from distill_or_annotate.doctor.finding import BROKEN, NOTE, OK, PROBLEM, Finding

EXAMPLE = "doa doctor --json"
_MARKS = {OK: "  ok     ", NOTE: "  -      ", PROBLEM: "  PROBLEM", BROKEN: "  BROKEN "}
_DEVICE_SECONDS, _IMPORT_SECONDS = 60.0, 180.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `doa doctor`."""
    parser.add_argument("--json", action="store_true", help="print JSON, once everything is known")
    parser.add_argument("--quick", action="store_true", help="import nothing: no devices, no check that imports work")


def run(args: argparse.Namespace) -> int:
    """Examine and print, line by line as things are found out.

    Args:
      args: json, quick.

    Returns:
      0 when the quickstart can run here, 1 when something that it needs is broken.
    """
    findings, section = [], None
    for finding in examine(quick=args.quick):
        findings.append(finding)
        if args.json:
            continue
        if finding.section != section:
            section = finding.section
            print(section)
        print(f"{_MARKS[finding.state]} {finding.name}: {finding.value}", flush=True)
        if finding.fix:
            print(f"            {'' if finding.state == NOTE else 'fix: '}{finding.fix}", flush=True)
    usable = not any(finding.state == BROKEN for finding in findings)
    if args.json:
        rows = [{name: getattr(finding, name) for name in finding.__dataclass_fields__} for finding in findings]
        print(json.dumps({"usable": usable, "version": __version__, "findings": rows}, indent=1))
    else:
        n_problems = sum(finding.state == PROBLEM for finding in findings)
        n_broken = sum(finding.state == BROKEN for finding in findings)
        verdict = "`doa run quickstart` can run here" if usable else "`doa run quickstart` cannot run here"
        print(f"{verdict}: {n_broken} broken, {n_problems} other problems.")
    return 0 if usable else 1


def examine(quick: bool = False) -> Iterator[Finding]:
    """Examines this installation, the cheap things first.

    Args:
      quick: leave out what needs imports.

    Yields:
      Findings, grouped by section.
    """
    cache = Path(os.environ.get("DOA_CACHE_DIR") or "~/.cache/distill_or_annotate").expanduser()
    # They work while the cheap findings are printed.
    probes = {} if quick else {name: probe.Probe(name) for name in ("devices", "imports")}
    try:
        yield from packages.versions()
        yield from packages.t5x()
        yield from packages.gin()
        yield from machine.resources(cache)
        yield from machine.pages(os.environ)
        yield from data.data_folders()
        yield from data.weights()
        yield from machine.environment(os.environ)
        yield from data.vocabularies(cache)
        if probes:
            yield from probe.device_findings(probes["devices"].result(_DEVICE_SECONDS))
            yield from probe.import_findings(probes["imports"].result(_IMPORT_SECONDS))
    finally:
        for running in probes.values():
            running.stop()

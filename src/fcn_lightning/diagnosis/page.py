"""The page: `doctor.html`, one file with everything in it, to be opened without a network."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fcn_lightning.diagnosis.diagnosis import Diagnosis
from fcn_lightning.diagnosis.findings import LISTED, Finding, Offender, Severity
from fcn_lightning.diagnosis.pictures import pictures
from fcn_lightning.diagnosis.summary import examined, verdict

PICTURED = 6  # offenders of a finding that are drawn
NAMED = 30  # offenders that are named


def write_page(diagnosis: Diagnosis, path: Path) -> None:
    """Write the findings with thumbnails of their offenders, and the class frequencies.

    Args:
        diagnosis: of a data set.
        path: of the HTML file.
    """
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    content = environment.get_template("page.html").render(
        diagnosis=diagnosis,
        verdict=verdict(diagnosis),
        examined=examined(diagnosis),
        severities=[
            (severity.name.lower(), [_shown(diagnosis, finding) for finding in diagnosis.having(severity)]) for severity in Severity
        ],
        colors=_colors(diagnosis),
        listed=LISTED,
    )
    path.write_text(content, encoding="utf-8", errors="replace")  # a file name may hold bytes that are no text


def _shown(diagnosis: Diagnosis, finding: Finding) -> dict[str, Any]:
    drawn = [(offender, _pictures(diagnosis, offender)) for offender in finding.offenders[:PICTURED]]
    named = finding.offenders[PICTURED:NAMED]
    more = finding.count - len(drawn) - len(named) if finding.offenders else 0  # a class or a split is no file
    return {"finding": finding, "drawn": drawn, "named": named, "more": more}


def _pictures(diagnosis: Diagnosis, offender: Offender) -> list[tuple[str, str]]:
    if offender.mask is None:
        return pictures(offender, None, None)
    return pictures(offender, diagnosis.scan.masks.get(offender.mask), diagnosis.reading_of(offender.mask))


def _colors(diagnosis: Diagnosis) -> list[str]:
    """Return the colour of each class as CSS writes it."""
    reading = next((reading for reading in diagnosis.readings.values() if reading is not None), None)
    return [f"rgb{color}" for color in reading.palette] if reading else []

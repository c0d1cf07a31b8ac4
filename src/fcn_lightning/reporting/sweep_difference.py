"""The difference of two jobs of a sweep beyond the choice of validation images: a paired bootstrap."""

from typing import Any

from fcn_lightning import InputError
from fcn_lightning.evaluation.bootstrap import paired_bootstrap
from fcn_lightning.reporting import significance
from fcn_lightning.reporting.count_files import find_counts, read_counts, require_same_images
from fcn_lightning.reporting.sweep_state import Job, Sweep
from fcn_lightning.reporting.sweep_table import label

CAUTION = "They were picked by their scores on these very images, so the true difference is likely smaller."


def describe_pair(sweep: Sweep, chosen: tuple[Job, Job, str]) -> tuple[str, dict[str, Any] | None]:
    """Compare two jobs that were chosen by their scores.

    Args:
        sweep: as it stands.
        chosen: as of `pair`.

    Returns:
        The finding in words, and its figures; why there is none, where the jobs cannot be compared.
    """
    a, b, which = chosen
    try:
        words, figures = compare(sweep, a, b)
    except InputError as error:
        return f"No bootstrap between {which}: {error}", None
    return f"Paired bootstrap over images between {which}:\n{words}\n{CAUTION}", figures


def compare(sweep: Sweep, a: Job, b: Job) -> tuple[str, dict[str, Any]]:
    """Resample the validation images of two jobs, each at its best validation.

    Returns:
        The finding in words, and its figures.

    Raises:
        InputError: a job has no counts of single images, or the two have not the same images.
    """
    one, other = (read_counts(find_counts(name, str(sweep.folder / job.folder))) for name, job in (("a", a), ("b", b)))
    require_same_images(one, other)
    result = paired_bootstrap(one.counts, other.counts)
    files: dict[str, Any] = {"a": str(one.path), "b": str(other.path)}
    words = f"a  {label(a, sweep)}, {one.path}\nb  {label(b, sweep)}, {other.path}\n{significance.sentence(result)}"
    return words, files | significance.as_json(result, one.classes)


def job_of(sweep: Sweep, key: str, number: int) -> Job:
    """Return the job of a number that was typed.

    Args:
        sweep: as it stands.
        key: of the configuration, for the message.
        number: of the job.

    Raises:
        InputError: there is none.
    """
    found = next((job for job in sweep.jobs if job.number == number), None)
    if found is None:
        known = ", ".join(str(job.number) for job in sweep.jobs) or "none"
        raise InputError(f"{key}={number} is no job of {sweep.folder}; its jobs are {known}")
    return found

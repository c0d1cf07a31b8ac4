"""The folder that mends a data set: a `classes.yaml`, converted masks, links to all else. What was given is never changed."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fcn_lightning import InputError
from fcn_lightning.data.pairs import Pair
from fcn_lightning.diagnosis.convert import Conversion, convert
from fcn_lightning.diagnosis.diagnosis import Diagnosis
from fcn_lightning.diagnosis.image_files import UPRIGHT, ImageFile
from fcn_lightning.diagnosis.mask_checks import cannot_be_snapped
from fcn_lightning.diagnosis.mask_files import MaskFile
from fcn_lightning.diagnosis.pair_checks import follows_stored
from fcn_lightning.diagnosis.reading import Reading
from fcn_lightning.diagnosis.splits import Split
from fcn_lightning.diagnosis.workers import Workers


@dataclass(frozen=True)
class Fix:
    """What was written.

    Args:
        root: for `dataset=folder dataset.root=`.
        linked: masks that are links to the given ones.
        converted: masks that were written anew.
        inexact: pixels of converted masks that held no label's value; they got the nearest one's, or are ignored.
        left_out: why -> how many pairs are not in the new folder.
    """

    root: Path
    linked: int
    converted: int
    inexact: int
    left_out: Mapping[str, int]

    def __str__(self) -> str:
        """Say what was written."""
        left = "".join(f"; {number} pairs are left out: {why}" for why, number in self.left_out.items())
        return (
            f"{self.root} has {self.converted} converted masks, in which {self.inexact:,} pixels held no label's value, and "
            f"{self.linked} masks and all images as links{left}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return the same as JSON holds it."""
        return {
            "root": str(self.root),
            "linked_masks": self.linked,
            "converted_masks": self.converted,
            "inexact_pixels": self.inexact,
            "left_out": dict(self.left_out),
        }


@dataclass
class Plan:
    """What belongs into the new folder.

    Args:
        links: new name -> file that it is a link to.
        conversions: new name of a mask -> what is to be done.
        names: split -> relative names of its images.
        left_out: why -> how many pairs cannot be used.
    """

    links: dict[Path, Path] = field(default_factory=dict)
    conversions: dict[Path, Conversion] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)


def fix(diagnosis: Diagnosis, root: Path, *, processes: int) -> Fix:
    """Write a complete `dataset=folder` that training can read.

    Images and good masks are hard links, or symbolic ones where hard ones cannot be: nothing is copied.

    Args:
        diagnosis: of the data set.
        root: a folder outside the data set.
        processes: that work at the same time.

    Raises:
        InputError: the masks do not say what the classes are, or no pair of a split can be used.
    """
    readings = list(diagnosis.readings.values())
    reading = readings[0]
    if reading is None:
        raise InputError(f"fix=true cannot tell what the masks of {diagnosis.root} mean; write a classes.yaml by hand")
    if any(other != reading for other in readings):
        raise InputError(
            f"fix=true cannot join train and val of {diagnosis.root}, whose masks differ in encoding; convert one split"
        )
    plan = make_plan(diagnosis, root, reading)
    for name, images in plan.names.items():
        if not images:
            why = ", ".join(plan.left_out) or "it cannot be built"
            raise InputError(f"fix=true finds no usable pair in {name} of {diagnosis.root} ({why}); mend the files by hand")
    for link, source in plan.links.items():
        _link(source, link)
    jobs = list(plan.conversions.values())
    with Workers(processes) as workers:
        inexact = sum(workers.map(convert, jobs, doing="converting masks"))
    if all(split.listed for split in diagnosis.scan.splits):
        for name, images in plan.names.items():
            (root / f"{name}.txt").write_text("".join(f"{image}\n" for image in images), encoding="utf-8")
    (root / "classes.yaml").write_text(_classes_yaml(diagnosis, reading, plan), encoding="utf-8")
    linked = sum(link.is_relative_to(root / "masks") for link in plan.links)
    return Fix(root, linked, len(jobs), inexact, plan.left_out)


def make_plan(diagnosis: Diagnosis, root: Path, reading: Reading) -> Plan:
    """Decide for each pair whether it is linked, converted, or left out.

    Args:
        diagnosis: of the data set.
        root: the new folder.
        reading: what the masks mean.
    """
    plan, known = Plan(), dict[Path, Pair]()
    for split in diagnosis.scan.splits:
        names = plan.names.setdefault(split.name, [])
        for pair in split.pairs:
            image, mask = diagnosis.scan.images.get(pair.image), diagnosis.scan.masks.get(pair.mask)
            name = _name(split, pair)
            target = root / "masks" / name.with_suffix(".png")
            if image is None or mask is None:
                plan.left_out["a file is absent"] += 1
            elif why := _hindrance(image, mask, reading):
                plan.left_out[why] += 1
            elif known.setdefault(target, pair) != pair:
                plan.left_out["another image has this name"] += 1
            else:
                names.append(name.as_posix())
                plan.links[root / "images" / name] = pair.image
                conversion = _conversion(image, mask, target, reading)
                if conversion is None:
                    plan.links[target] = pair.mask
                else:
                    plan.conversions[target] = conversion
    return plan


def _name(split: Split, pair: Pair) -> Path:
    """Return the relative name of an image in the new folder; with split folders, unless lists tell the splits apart."""
    name = pair.image.relative_to(split.images)
    return name if split.listed else split.name / name


def _hindrance(image: ImageFile, mask: MaskFile, reading: Reading) -> str:
    """Say why a pair cannot be used; empty where it can."""
    if image.problem or mask.problem:
        return "a file cannot be read"
    if image.size != mask.size and not follows_stored(image, mask):
        return "the sizes differ"
    if mask.colored and not reading.colors:
        return "the colours are no class's"
    return "the labels were smeared into each other" if cannot_be_snapped(mask, reading) else ""


def _conversion(image: ImageFile, mask: MaskFile, target: Path, reading: Reading) -> Conversion | None:
    """Return what is to be done with a mask; None where a link does."""
    orientation = image.orientation if follows_stored(image, mask) else UPRIGHT
    by_palette = mask.path in reading.by_palette
    as_it_is = not (mask.encoding or by_palette or mask.path in reading.smeared)
    if as_it_is and mask.format == "PNG" and orientation == UPRIGHT:
        return None
    colored = mask.colored or by_palette
    if colored:
        table = {color: reading.value_of[number] for color, number in reading.colors.items()}
    else:
        table = {value: value for value in reading.values}
    return Conversion(mask.path, target, colored, table, mask.path in reading.smeared, reading.void, orientation)


def _link(source: Path, link: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), link)
    except OSError:  # another device, or a system that has no hard links for these files
        try:
            link.symlink_to(source.resolve())
        except OSError as error:
            raise InputError(
                f"cannot link {link} to {source} ({error.strerror}); give an output on the device of the data"
            ) from error


def _classes_yaml(diagnosis: Diagnosis, reading: Reading, plan: Plan) -> str:
    """Write the class list, with a label_map where the values need one; values of no class are ignored, and said to be."""
    linked = [diagnosis.scan.masks[source] for source in plan.links.values() if source in diagnosis.scan.masks]
    stray: Counter[int] = Counter()
    for mask in linked:
        stray.update({value: pixels for value, pixels in mask.values.items() if value not in reading.values})
    void = [reading.void] if plan.conversions else []
    lines = [f"# Written by python -m fcn_lightning.doctor for {diagnosis.root}"]
    if reading.drafted:
        lines.append("# The names are made up from what the masks hold: give the classes their own, also below in a label_map.")
        given = next((split.labels for split in diagnosis.scan.splits if split.labels is not None), None)
        lines += [f"# The class list that was given has no colours: {', '.join(given.classes)}"] if given else []
    lines += ["classes:", *(f"  - {_scalar(name)}" for name in reading.classes)]
    colors = zip(reading.palette, reading.classes, strict=True)
    lines += ["colors:", *(f"  - {list(color)} # {' '.join(name.split())}" for color, name in colors)]
    if stray or not reading.plain:
        table = reading.label_map | {value: "ignore" for value in (*stray, *void)}
        lines.append("label_map:")
        for value in sorted(table):
            remark = f" # no class of the list; {stray[value]:,} pixels" if value in stray else ""
            lines.append(f"  {value}: {_scalar(table[value])}{remark}")
    return "\n".join(lines) + "\n"


def _scalar(value: str | int) -> str:
    """Write a word as YAML reads it back: quoted where it would mean something else."""
    return yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=10**6).strip()[1:-1]

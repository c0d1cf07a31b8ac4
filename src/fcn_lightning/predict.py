"""Label images: `python -m fcn_lightning.predict checkpoint=<file> source=photos output=labels`."""

import glob
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from fcn_lightning import InputError
from fcn_lightning.cli import command

if TYPE_CHECKING:  # torch is imported when work starts, so that --help answers at once
    from fcn_lightning.data.images import UInt8
    from fcn_lightning.evaluation.predictor import Predictor

log = logging.getLogger(__name__)

FORMATS = ("all", "submission")
LOG_EVERY = 100  # images


@command("predict")
def main(config: DictConfig) -> None:
    """Write label maps for any number of images, one at a time.

    Args:
        config: `conf/predict.yaml` as composed.
    """
    source, output = Path(config.source), Path(config.output)
    if config.format not in FORMATS:
        raise InputError(f"format={config.format} is not known; use {' or '.join(FORMATS)}")
    images = find_images(str(config.source))
    check_output(output, source)

    from fcn_lightning.training.device import accelerator
    from fcn_lightning.zoo.load import load_requested

    predictor = load_requested(config.checkpoint, config.weights, config.row)
    stored = predictor.card.inference
    predictor = predictor.using(
        tta=config.tta or stored.tta,
        precision=config.inference.precision or stored.precision,
        device=accelerator(config.trainer.accelerator),
    )
    broken = label_images(predictor, images, output, submission=config.format == "submission")
    log.info("%d label maps in %s", len(images) - len(broken), output)
    if broken:
        raise InputError(f"{len(broken)} of {len(images)} images could not be read, the others are in {output}; first: {broken[0]}")


def find_images(source: str) -> dict[Path, Path]:
    """Return name in the output -> image file, for a file, a folder or a glob.

    Raises:
        InputError: there are none, or two would get the same name.
    """
    from fcn_lightning.data.images import list_images

    path = Path(source)
    if path.is_dir():
        found = {file: file.relative_to(path) for file in list_images(path)}
    else:
        matches = [path] if path.is_file() else sorted(Path(name) for name in glob.glob(source, recursive=True))
        files = [match for match in matches if match.is_file()]
        found = {file: Path(file.name) for file in files}
    if not found:
        raise InputError(f"source={source} names no image; give an image file, a folder that holds some, or a glob in quotes")
    named: dict[Path, Path] = {}
    for file, name in found.items():
        target = name.with_suffix(".png")
        if target in named:
            raise InputError(f"{named[target]} and {file} would both be written as {target}; predict them into different folders")
        named[target] = file
    return named


def check_output(output: Path, source: Path) -> None:
    """Refuse a folder that holds something: nothing is overwritten.

    Raises:
        InputError: it does.
    """
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise InputError(f"output={output} is not empty, and nothing is overwritten; give a new folder")
    if source.is_dir() and source.resolve() in (output.resolve(), *output.resolve().parents):
        raise InputError(f"output={output} lies inside source={source}; give a folder outside it")


def label_images(predictor: "Predictor", images: dict[Path, Path], output: Path, *, submission: bool) -> list[str]:
    """Read, label and write one image after the other.

    Args:
        predictor: the network.
        images: name in the output -> image file.
        output: folder to write to.
        submission: write only the file values that the data set's benchmark server expects.

    Returns:
        What was wrong with each image that could not be read; the others are done.
    """
    from fcn_lightning.data.images import read_image

    broken = []
    for number, (name, file) in enumerate(images.items(), start=1):
        try:
            image = read_image(file)
        except InputError as error:
            broken.append(str(error))
            continue
        write(predictor, output, name, image, submission=submission)
        if number % LOG_EVERY == 0:
            log.info("%d of %d images", number, len(images))
    return broken


def write(predictor: "Predictor", output: Path, name: Path, image: "UInt8", *, submission: bool) -> None:
    """Label one image and write its files, each complete or not at all."""
    import numpy as np

    from fcn_lightning.data.images import write_png
    from fcn_lightning.reporting.panels import colorize, overlay

    labels = predictor.card.labels
    label_map = predictor.predict(image)
    if submission:
        write_png(output / name, np.array(labels.values, np.uint8)[label_map])
        return
    write_png(output / "labels" / name, label_map)
    write_png(output / "color" / name, colorize(label_map, labels.palette))
    write_png(output / "overlay" / name, overlay(image, label_map, labels.palette))


if __name__ == "__main__":
    main()

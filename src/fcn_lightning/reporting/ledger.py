"""The deviation ledger: how a run that was started from a recipe differs from the row that was published."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fcn_lightning import __version__
from fcn_lightning.data.datamodule import SegmentationDataModule
from fcn_lightning.reporting.record import write_json
from fcn_lightning.zoo.recipes import Row

SECTIONS = ("dataset", "model", "schedule", "optimizer", "loss", "inference")
# Keys that say where and how fast, not what; and those that have a line of their own.
LEFT_OUT = {"dataset.root", "dataset.workers", "dataset.seed", "model.pretrained", "dataset.global_batch_size", "dataset.cache"}
AUGMENTATION = {"dataset.base_scale", "dataset.ratio_range", "dataset.crop_size", "dataset.augment"}
LOSSY = {".jpg", ".jpeg"}


@dataclass(frozen=True)
class Deviation:
    """One difference, in words.

    Args:
        what: batch, BatchNorm batch, precision, augmentation, auxiliary classifier, sampling, decoder, weights, data count,
            versions, or a key of the configuration.
        published: of the row.
        here: of this run.
    """

    what: str
    published: str
    here: str

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.what}: {self.here} (published: {self.published})"


@dataclass(frozen=True)
class Setting:
    """What a run is, beside its configuration.

    Args:
        precision: of the training steps, as Lightning names it.
        norm_batch: images that BatchNorm's statistics of one forward pass are of.
        start: what the network starts from, in words.
        datamodule: set up.
        class_weight: of the loss, as resolved.
    """

    precision: str
    norm_batch: int
    start: str
    datamodule: SegmentationDataModule
    class_weight: Sequence[float] | None = None


@dataclass(frozen=True)
class Ledger:
    """How a run differs from its row.

    Args:
        row: the published one.
        deviations: what differs.
    """

    row: Row
    deviations: tuple[Deviation, ...]

    def __str__(self) -> str:
        """Return the lines for the start block."""
        return "\n".join([f"row         {self.row.id}; this run differs in", *(f"            {item}" for item in self.deviations)])

    def write(self, path: Path) -> None:
        """Write the ledger as JSON."""
        content = {"row": self.row.id, "deviations": [asdict(item) for item in self.deviations]}
        write_json(path, content)


def make_ledger(row: Row, published: dict[str, Any], config: dict[str, Any], setting: Setting) -> Ledger:
    """Find how a run differs from its row.

    Args:
        row: the published one.
        published: the row's configuration, unchanged.
        config: the run's.
        setting: what it met.
    """
    was, batch = published["dataset"]["global_batch_size"], config["dataset"]["global_batch_size"]
    found = [
        ("batch", str(was), str(batch)),
        # Published runs synchronise their statistics over all GPUs.
        ("BatchNorm batch", str(was), str(setting.norm_batch)),
        ("precision", "16-mixed" if "FP16" in row.method else "32-true", setting.precision),
        ("weights", "ImageNet", setting.start),
        *_data_counts(setting.datamodule),
        *_keys(published, config, setting.class_weight),
    ]
    differing = [Deviation(*entry) for entry in found if entry[1] != entry[2]]
    always = [Deviation(*entry) for entry in _always(row, config, setting.datamodule)]
    return Ledger(row, (*differing, *always))


def _keys(
    published: dict[str, Any], config: dict[str, Any], class_weight: Sequence[float] | None
) -> Iterator[tuple[str, str, str]]:
    """Compare the configurations key by key; class weights by what they came out as."""
    for section in SECTIONS:
        for key in sorted(published[section].keys() | config[section].keys()):
            name = f"{section}.{key}"
            if name not in LEFT_OUT:
                label = f"augmentation, {name}" if name in AUGMENTATION else name
                here = (
                    _weights(config[section][key], class_weight) if name == "loss.class_weight" else str(config[section].get(key))
                )
                yield label, str(published[section].get(key)), here


def _weights(choice: Any, class_weight: Sequence[float] | None) -> str:
    """Write class weights as chosen, and as they came out."""
    numbers = ", ".join(f"{weight:.3g}" for weight in class_weight or ())
    return f"{choice if isinstance(choice, str) else 'given'}{f': {numbers}' if numbers else ''}"


def _data_counts(datamodule: SegmentationDataModule) -> Iterator[tuple[str, str, str]]:
    for split, data in (("train", datamodule.train_data), ("val", datamodule.val_data)):
        if split in datamodule.published_counts:
            yield f"data count, {split}", str(datamodule.published_counts[split]), str(len(data))


def _always(row: Row, config: dict[str, Any], datamodule: SegmentationDataModule) -> Iterator[tuple[str, str, str]]:
    """Yield what differs in every run of this package, with an effect that is not known."""
    if row.auxiliary_classes:
        classes = len(datamodule.labels.classes)
        yield "auxiliary classifier", f"{row.auxiliary_classes} outputs for {classes} classes, by mistake", f"{classes} outputs"
    seed = config["seed"]
    yield "sampling", "a shuffled pass that drops its last images, then the next", f"an endless stream of permutations, seed {seed}"
    if Path(datamodule.train_data.name(0)).suffix.lower() in LOSSY:
        yield (
            "decoder",
            f"OpenCV of {row.date[:4]}",
            f"OpenCV {version('opencv-python-headless')}; JPEG pixels may differ by a grey level",
        )
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "albumentations"))
    month = f"{row.date[:4]}-{row.date[4:6]}"
    yield "versions", f"mmsegmentation and PyTorch of {month}", f"fcn_lightning {__version__}, {libraries}"

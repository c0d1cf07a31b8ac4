"""What is wrong with files and with their pairs: partners, names, broken files, sizes, rotations."""

from collections.abc import Callable, Iterator
from pathlib import Path

from fcn_lightning.data.pairs import Pair
from fcn_lightning.diagnosis.findings import Finding, Offender, finding, first, size
from fcn_lightning.diagnosis.image_files import FIRST_TURNED, UPRIGHT, ImageFile
from fcn_lightning.diagnosis.mask_files import MaskFile
from fcn_lightning.diagnosis.scan import Scan

PLAIN_MODES = ("RGB", "L", "P", "1")  # read as 8-bit RGB without a loss


def check_pairs(scan: Scan) -> list[Finding]:
    """Find what keeps an image and its mask from being a pair."""
    checks = (_splits, _partners, _names, _broken, _sizes, _rotations, _modes)
    return [found for check in checks for found in check(scan)]


def _splits(scan: Scan) -> list[Finding]:
    problems = dict.fromkeys(problem for split in scan.splits for problem in split.problems)
    return [Finding("split-unreadable", problem, 1) for problem in problems]


def _partners(scan: Scan) -> Iterator[Finding]:
    pairs = [pair for split in scan.splits for pair in split.pairs]
    no_mask = [pair for pair in pairs if pair.image in scan.images and pair.mask not in scan.masks]
    no_image = [pair for pair in pairs if pair.mask in scan.masks and pair.image not in scan.images]
    neither = [pair for pair in pairs if pair.mask not in scan.masks and pair.image not in scan.images]
    for code, lacking, words, remedy in (
        ("pair-missing", neither, "listed names have neither image nor mask", "add both files, or take the names off the list"),
        ("image-without-mask", no_mask, "images have no mask", "add the masks, or remove the images"),
        ("mask-without-image", no_image, "masks have no image", "add the images, or remove the masks"),
    ):
        offenders = [_incomplete(scan, pair) for pair in lacking]
        sentence = f"{len(lacking)} of {len(pairs)} {words}, first {_named(offenders)}; {remedy}"
        yield from finding(code, sentence, offenders)


def _names(scan: Scan) -> list[Finding]:
    names = {mask: name for split in scan.splits for mask, name in split.names.items()}
    offenders = [Offender(f"should be {name.name}", scan.image_of.get(mask), mask) for mask, name in names.items()]
    sentence = (
        f"{len(names)} of {len(scan.masks)} masks have names under which training does not look for them, "
        f"{_pairs_of_names(names)}; give each the relative name of its image, with the ending .png"
    )
    return finding("mask-name", sentence, offenders)


def _broken(scan: Scan) -> list[Finding]:
    masks = [Offender(mask.problem, scan.image_of.get(mask.path), mask.path) for mask in scan.masks.values() if mask.problem]
    images = [Offender(image.problem, image.path) for image in scan.images.values() if image.problem]
    return [
        *finding("image-broken", f"{len(images)} of {len(scan.images)} images cannot be read, first: {_detail(images)}", images),
        *finding("mask-broken", f"{len(masks)} of {len(scan.masks)} masks cannot be read, first: {_detail(masks)}", masks),
    ]


def _sizes(scan: Scan) -> list[Finding]:
    offenders = [
        _offender(image, mask, f"image {size(image.size)}, mask {size(mask.size)}")
        for image, mask in _readable(scan)
        if image.size != mask.size and not follows_stored(image, mask)
    ]
    sentence = (
        f"{len(offenders)} of {len(scan.masks)} masks differ in size from their image (height x width), first {_named(offenders)}; "
        "export both at one size"
    )
    return finding("size-differs", sentence, offenders)


def follows_stored(image: ImageFile, mask: MaskFile) -> bool:
    """Tell whether a mask has the size of its image without the EXIF rotation, and not with it."""
    return image.orientation != UPRIGHT and mask.size == image.stored != image.size


def _rotations(scan: Scan) -> list[Finding]:
    rotated = [(image, mask) for image, mask in _readable(scan) if image.orientation != UPRIGHT]

    def chosen(which: Callable[[ImageFile, MaskFile], bool]) -> list[Offender]:
        return [
            _offender(image, mask, f"orientation {image.orientation}, image {size(image.size)} as read, mask {size(mask.size)}")
            for image, mask in rotated
            if which(image, mask)
        ]

    wrong = chosen(follows_stored)
    unclear = chosen(lambda image, mask: image.size == mask.size == image.stored or image.orientation < FIRST_TURNED)
    right = chosen(lambda image, mask: image.size == mask.size != image.stored)
    return [
        *finding(
            "exif-rotation",
            f"{len(wrong)} of {len(scan.masks)} masks lie as their image is stored, while the image is read with EXIF rotation, "
            f"first {_named(wrong)}; turn the masks, or store the images upright and without the rotation tag",
            wrong,
        ),
        *finding(
            "exif-unclear",
            f"{len(unclear)} of {len(scan.images)} images are turned or mirrored by their EXIF tag when they are read, and "
            f"their size does not tell whether the masks are turned too, "
            f"first {_named(unclear)}; compare the pictures, and store the images upright",
            unclear,
        ),
        *finding(
            "exif-applied",
            f"{len(right)} of {len(scan.images)} images are turned by their EXIF tag when they are read, and the sizes of "
            f"their masks agree, first {_named(right)}; other programs may ignore the tag, so store the images upright",
            right,
        ),
    ]


def _modes(scan: Scan) -> list[Finding]:
    offenders = [
        Offender(f"mode {image.mode}", image.path)
        for image in scan.images.values()
        if not image.problem and image.mode not in PLAIN_MODES
    ]
    modes = first(sorted({offender.detail for offender in offenders}))
    sentence = (
        f"{len(offenders)} of {len(scan.images)} images are read as 8-bit RGB and lose what else they hold ({modes}), first "
        f"{_named(offenders)}; convert them, if that is not meant"
    )
    return finding("image-mode", sentence, offenders)


def _readable(scan: Scan) -> Iterator[tuple[ImageFile, MaskFile]]:
    return ((image, mask) for _, _, image, mask in scan.pairs() if not image.problem and not mask.problem)


def _offender(image: ImageFile, mask: MaskFile, detail: str) -> Offender:
    return Offender(detail, image.path, mask.path)


def _incomplete(scan: Scan, pair: Pair) -> Offender:
    image, mask = (path if path in known else None for path, known in ((pair.image, scan.images), (pair.mask, scan.masks)))
    absent = first(str(path) for path, here in ((pair.image, image), (pair.mask, mask)) if here is None)
    return Offender(f"lacks {absent}", image, mask)


def _pairs_of_names(names: dict[Path, Path]) -> str:
    return next((f"first {mask}, expected {name}" for mask, name in names.items()), "")


def _named(offenders: list[Offender]) -> str:
    return f"{offenders[0].image or offenders[0].mask} ({offenders[0].detail})" if offenders else ""


def _detail(offenders: list[Offender]) -> str:
    return offenders[0].detail if offenders else ""

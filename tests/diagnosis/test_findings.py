"""Each finding is found where it is planted, alone, and nowhere else."""

from pathlib import Path

import pytest

from fcn_lightning.diagnosis.findings import SEVERITIES, Severity
from tests.diagnosis.planted import COMPANIONS, PLANTS, clean, codes, examine, examine_voc, mask_of, save


def test_nothing_is_wrong_with_a_clean_data_set(tmp_path: Path) -> None:
    diagnosis = examine(clean(tmp_path))
    assert diagnosis.findings == []
    assert (len(diagnosis.scan.masks), diagnosis.scan.decoded) == (10, 10)
    assert [(split.name, split.masks) for split in diagnosis.frequencies] == [("train", 6), ("val", 4)]
    train = diagnosis.frequencies[0]
    assert sum(train.pixels) + train.ignored == 6 * 48 * 64
    assert train.ignored == 6 * 64
    assert train.images == (6, 6, 6, 6)
    assert sum(train.pixel_share(number) for number in range(4)) == pytest.approx(1)


def test_every_finding_is_planted() -> None:
    assert PLANTS.keys() | {"pair-missing"} == SEVERITIES.keys()


@pytest.mark.parametrize("code", PLANTS)
def test_a_planted_finding_is_found_and_no_other(tmp_path: Path, code: str) -> None:
    plant, words = PLANTS[code]
    root = clean(tmp_path)
    plant(root)
    diagnosis = examine(root)
    assert codes(diagnosis) == {code} | COMPANIONS.get(code, set())
    (found,) = (finding for finding in diagnosis.findings if finding.code == code)
    for word in words:
        assert word in found.sentence
    assert ". " not in found.sentence, "one sentence"
    assert found.count >= len(found.offenders)
    json = diagnosis.as_json()
    assert json["errors"] == len([finding for finding in diagnosis.findings if finding.severity == Severity.ERROR])
    assert code in [finding["code"] for finding in json["findings"]]


def test_a_listed_name_without_files(tmp_path: Path) -> None:
    found = next(finding for finding in examine_voc(tmp_path).findings if finding.code == "pair-missing")
    assert (found.count, found.severity) == (1, Severity.ERROR)
    assert "2007_000000" in found.sentence


def test_the_gravest_comes_first(tmp_path: Path) -> None:
    root = clean(tmp_path)
    for code in ("mask-single-class", "class-missing-val", "unlisted-values"):
        PLANTS[code][0](root)
    severities = [finding.severity for finding in examine(root).findings]
    assert severities == sorted(severities)
    assert len(severities) == 3


@pytest.mark.parametrize("code", ["off-by-one", "reduce-zero-label"])
def test_a_few_stray_pixels_do_not_hide_a_mistake(tmp_path: Path, code: str) -> None:
    root = clean(tmp_path)
    PLANTS[code][0](root)
    path = root / "masks/train/2.png"
    stray = mask_of(path).copy()
    stray[5, 5:8] = 77
    save(stray, path)
    diagnosis = examine(root)
    assert codes(diagnosis) == {code, "unlisted-values"}
    found = next(finding for finding in diagnosis.findings if finding.code == "unlisted-values")
    assert "1 of 10 masks hold values that no class has: 77 (3 pixels)" in found.sentence

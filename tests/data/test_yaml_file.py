"""YAML that anybody may have written gives plain values, or one sentence."""

from pathlib import Path

import pytest

from fcn_lightning import InputError
from fcn_lightning.data.yaml_file import MAX_BYTES, read_yaml
from tests.hostile import many_laughs


def test_plain_values(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("\ufeffa: [1, 2.5, x, null, true]\nb: {c: ünï}\n", encoding="utf-8")
    assert read_yaml(path) == {"a": [1, 2.5, "x", None, True], "b": {"c": "ünï"}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (many_laughs(), "refers to an anchor"),
        ("a: &a [*a]", "refers to an anchor"),
        ("a: &a {b: 1}\nc: {<<: *a}", "refers to an anchor"),
        ("[" * 5000, "lists in lists without end"),
        ("a: !!python/object/apply:os.mkdir [executed]", "could not determine a constructor"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
        ("a: 2001-99-99", "month must be in"),
        ("a: !!int abc", "invalid literal"),
        ("a: !!bool abc", "not valid YAML"),
        ("a: !!timestamp abc", "not valid YAML"),
        ("a: " + "9" * 5000, "digits"),
        ("? [a]\n: b", "unhashable"),
        ("a: b\n--- \nc: d", "not valid YAML"),
        ("a: \0", "not valid YAML"),
    ],
    ids=lambda value: value[:24],
)
def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=rf"x.yaml is not valid YAML \(.*{words}.*\); correct it|{words}"):
        read_yaml(path)
    assert [file.name for file in tmp_path.iterdir()] == ["x.yaml"], "nothing was executed"


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"a: \xff")
    with pytest.raises(InputError, match="is not valid YAML"):
        read_yaml(tmp_path / "x.yaml")


def test_a_file_of_any_length_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("# " + "x" * (MAX_BYTES - 8) + "\na: 1")
    assert path.stat().st_size <= MAX_BYTES
    assert read_yaml(path) == {"a": 1}
    path.write_text("# " + "x" * MAX_BYTES + "\na: 1")
    with pytest.raises(InputError, match="has more than 262,144 bytes"):
        read_yaml(path)

"""`prepared.json`: what a prepared folder was made from, so that another archive under the same name is noticed."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fcn_lightning import InputError, __version__

FILE = "prepared.json"


@dataclass
class Record:
    """The preparation of a data set.

    Args:
        sources: usual file name -> name of what was read, its size in bytes, and its SHA-256; of a folder, the number and
            size of its files.
        images: split -> number of images; empty until everything is there.
        version: of this package.
    """

    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    version: str = __version__

    def add(self, file: str, source: Mapping[str, Any]) -> None:
        """Note what a part is read from.

        Args:
            file: the part's usual file name.
            source: as in `sources`.

        Raises:
            InputError: the preparation was begun with a file of another content.
        """
        before = self.sources.get(file, {})
        if before.get("sha256", source.get("sha256")) != source.get("sha256"):
            raise InputError(
                f"this preparation was begun with {before.get('name')} of SHA-256 {str(before['sha256'])[:8]}, and "
                f"{source['name']} is something else; give the same file, or a new folder as root="
            )
        self.sources[file] = dict(source)


def read_record(root: Path, name: str) -> Record:
    """Return the record of a data set, an empty one where there is none.

    Args:
        root: of the prepared data.
        name: of the data set; one folder may hold several.

    Raises:
        InputError: the file is no record.
    """
    content = _read(root).get(name)
    try:
        record = Record(**content) if content is not None else Record()
    except TypeError as error:
        raise InputError(f"{root / FILE} is no record of a preparation ({error}); delete it") from error
    tables = [record.sources, record.images, *(record.sources.values() if isinstance(record.sources, dict) else ())]
    if not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{root / FILE} is no record of a preparation (a table is missing in {name}); delete it")
    return record


def write_record(root: Path, name: str, record: Record) -> None:
    """Write the record of a data set beside those of others."""
    content = _read(root) | {name: asdict(record)}
    part = root / f".{FILE}.part"
    try:
        root.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        os.replace(part, root / FILE)
    except OSError as error:
        raise InputError(f"{root / FILE} could not be written ({error.strerror}); give root=<folder> that can be") from error


def _read(root: Path) -> dict[str, Any]:
    path = root / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error}); delete it") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is no record of a preparation; delete it")
    return content

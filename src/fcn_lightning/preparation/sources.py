"""Which of the given archives and folders brings what, and what each of them holds."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fcn_lightning import InputError
from fcn_lightning.preparation.archives import MAX_MEMBER, Member, is_archive, list_files, members, plain_name
from fcn_lightning.preparation.progress import in_words


@dataclass(frozen=True)
class Part:
    """What one published file brings.

    Args:
        file: its usual name.
        origin: where people get it, in words.
        inside: regular expression of the folder below which its members lie, whatever stands above it; empty where the
            file is no archive.
        wanted: regular expression of the members' names below that folder.
        sha1: of the published file, where it is known for certain.
        mistaken: what people take instead: regular expression of its file or member names -> what it is.
    """

    file: str
    origin: str
    inside: str = ""
    wanted: str = ""
    sha1: str | None = None
    mistaken: tuple[tuple[str, str], ...] = ()

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Of a member's whole name: what stands above the folder, and the name below it."""
        return re.compile(rf"(?:(.*)/)?{self.inside}/({self.wanted})")

    def brings(self, name: str) -> bool:
        """Tell whether a file of this name is a member; a list of names alone does not show that."""
        return bool(self.inside) and not name.endswith(".txt") and self.pattern.fullmatch(name) is not None

    def mistake(self, names: Iterable[str]) -> str | None:
        """Return what was taken instead, if one of the names shows it."""
        return next((words for name in names for pattern, words in self.mistaken if re.search(pattern, name)), None)


@dataclass(frozen=True)
class Found:
    """A part, found and looked through.

    Args:
        part: that was looked for.
        path: of the file or folder that brings it.
        sizes: name below the part's folder -> bytes, of the members that are wanted.
        names: name below the part's folder -> name of the member.
        texts: name below the part's folder -> content, of the lists among these members.
    """

    part: Part
    path: Path
    sizes: Mapping[str, int]
    names: Mapping[str, str]
    texts: Mapping[str, str]

    def lines(self, name: str) -> list[str]:
        """Return the names in one of the lists.

        Raises:
            InputError: the list is not there.
        """
        if name not in self.texts:
            raise InputError(f"{self.path} holds no {name}, which {self.part.file} has; get it again from {self.part.origin}")
        return [line.strip() for line in self.texts[name].splitlines() if line.strip()]


def find(parts: Sequence[Part], sources: Sequence[Path]) -> list[Path]:
    """Return which file or folder brings each part.

    A file of the usual name is taken first, then any archive that was named itself, then files that are unpacked already.

    Args:
        parts: that are needed.
        sources: archives, folders with archives, and unpacked folders.

    Raises:
        InputError: a source does not exist, or a part is missing.
    """
    absent = [path for path in sources if not path.exists()]
    if absent:
        raise InputError(f"source={absent[0]} does not exist; give the downloaded archives, or a folder that holds them")
    files = {path: list_files(path) if path.is_dir() else [path] for path in sources}
    paths = {part: _bringer(part, files) for part in parts}
    missing = [part for part, path in paths.items() if path is None]
    if missing:
        raise InputError(_missing(missing, files))
    return [path for path in paths.values() if path is not None]


def _bringer(part: Part, files: Mapping[Path, Sequence[Path]]) -> Path | None:
    wanted = plain_name(part.file)
    for file in (file for found in files.values() for file in found):
        if plain_name(file.name) == wanted and (is_archive(file) or not part.inside):
            return file
    for path in files:
        if path.is_file() and is_archive(path) and any(part.brings(member.name) for member in members(path)):
            return path
    return next((path for path, found in files.items() if path.is_dir() and any(part.brings(str(file)) for file in found)), None)


def _missing(parts: Sequence[Part], files: Mapping[Path, Sequence[Path]]) -> str:
    """Say which files are missing, where people get them, and what is there in their place."""
    given = ", ".join(map(str, files))
    wanted = " and ".join(f"{part.file} (from {part.origin})" for part in parts)
    names = [str(file) for found in files.values() for file in found]
    named = [member.name for path in files if path.is_file() and is_archive(path) for member in members(path)]
    mistake = next((words for part in parts if (words := part.mistake([*names, *named]))), None)
    instead = f"; what is there is {mistake}" if mistake else ""
    return (
        f"source={given} lacks {wanted}{instead}; "
        "nothing is downloaded here, as the data set's own terms apply: get it there, and name it or its folder in source="
    )


def look_through(part: Part, path: Path) -> Found:
    """List what a file or folder holds of a part.

    Where members lie below several folders of the part's name, those of the fullest one count.

    Args:
        part: that it brings.
        path: of the archive, folder or plain file.

    Raises:
        InputError: it is damaged, holds nothing of the part, or a member is a link or too large.
    """
    if not part.inside:
        return Found(part, path, {}, {}, {})
    sizes: dict[str, dict[str, int]] = defaultdict(dict)
    names: dict[str, dict[str, str]] = defaultdict(dict)
    texts: dict[str, dict[str, str]] = defaultdict(dict)
    for member in members(path):
        match = part.pattern.fullmatch(member.name)
        if match:
            _check(path, member)
            above, below = match[1] or "", match[2]
            sizes[above][below], names[above][below] = member.size, member.name
            if below.endswith(".txt"):
                texts[above][below] = member.read().decode(errors="replace")
    if not sizes:
        mistake = part.mistake([path.name, *(member.name for member in members(path))])
        raise InputError(
            f"{path} holds nothing of {part.file}{f': it is {mistake}' if mistake else ''}; get {part.file} from {part.origin}"
        )
    fullest = max(sorted(sizes), key=lambda above: len(sizes[above]))
    return Found(part, path, sizes[fullest], names[fullest], texts[fullest])


def _check(path: Path, member: Member) -> None:
    if not member.regular:
        raise InputError(f"{path} holds {member.name} as a link or device, not a file; get the published archive")
    if member.size > MAX_MEMBER:
        raise InputError(
            f"{path} holds {member.name} with {in_words(member.size)}, more than any file of this data set has "
            f"({in_words(MAX_MEMBER)} at most); get the published archive"
        )

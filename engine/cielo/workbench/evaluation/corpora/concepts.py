"""What the readers of corpora share that are annotated with concepts: CUIs of UMLS, identifiers of SNOMED CT."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from cielo.errors import TableError
from cielo.link.documents import DocumentMention
from cielo.workbench.evaluation.corpora.code_map import MappedCode
from cielo.workbench.evaluation.corpora.lines import Gathering
from cielo.workbench.evaluation.records import Annotated


def needs_map(
    code_map: Mapping[str, tuple[MappedCode, ...]] | None, path: Path
) -> Mapping[str, tuple[MappedCode, ...]]:
    """Return the map.

    Raises:
        TableError: where there is none.
    """
    if code_map is None:
        raise TableError(
            f"{path}: its mentions bear concepts (CUIs of UMLS, or SNOMED CT) and no codes; give a table that maps "
            "concepts to codes (--code-map: columns cui or snomed, and code; or ClinIDMap's)"
        )
    return code_map


def files_under(path: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    """Yield a file, or the files of a folder that end so, in order, each with the name of its document.

    Raises:
        TableError: where `path` is neither.
    """
    try:
        if path.is_file():
            yield path, path.stem
            return
        if not path.is_dir():
            raise TableError(f"{path}: there is no such file or folder")
    except (OSError, ValueError) as error:
        raise TableError(f"{path}: cannot be read") from error
    found = [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    for file in sorted(file for file in found if file.suffix.lower() in suffixes):
        yield file, file.relative_to(path).with_suffix("").as_posix()


def add_linked(
    gathering: Gathering,
    found: DocumentMention,
    concepts: Iterable[str],
    code_map: Mapping[str, tuple[MappedCode, ...]],
    document: str,
) -> None:
    """Add a mention with the codes of its concepts, any of which is right; without a code it is counted alone.

    Its kind is that of its codes where they have one in common, else its own.
    """
    codes = [code for concept in concepts for code in code_map.get(concept, ())]
    if not codes:
        gathering.uncoded += 1
        return
    kinds = {code.kind for code in codes}
    kind = kinds.pop() if len(kinds) == 1 else None
    mention = replace(found.mention, kind=kind or found.mention.kind)
    right = tuple(dict.fromkeys(code.code for code in codes))
    gathering.mentions.append(Annotated(mention, right, document=document, spans=found.spans))

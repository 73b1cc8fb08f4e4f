"""The sources of a bundle: which checkpoints and tables are here, what has to be fetched, and fetching it.

A plan is made first, without changing anything; whoever carries it out has seen it. What is fetched lies in one
folder: `generator/`, `encoder/`, `tables/`, each with a record of where it is from beside it.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Literal

from cielo.downloads import Download, fetch, matches, size_of
from cielo.errors import CheckpointError, CieloError, DownloadError
from cielo.knowledge.published import download_of, fetch_table, published_table
from cielo.licences import Licence
from cielo.origins import Origin, read_origin, write_origin

from cielo_convert import weights
from cielo_convert.recipe import EncoderRecipe, GeneratorRecipe, Recipe, TableRecipe

Progress = Callable[[str, int, int | None], None]
Model = Literal["generator", "encoder"]
_MODELS: tuple[Model, ...] = ("generator", "encoder")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FILES = (
    f"config.json, the tokenizer's files, and the weights: {' or '.join(weights.SINGLE)}, or shards with their index"
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that is here: its directory, and the commit of the hub that it is of, where that is known."""

    directory: Path
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The two checkpoints of a bundle."""

    generator: Checkpoint
    encoder: Checkpoint


@dataclass(frozen=True, slots=True)
class Part:
    """A checkpoint or a table of the plan.

    Attributes:
        name: ``generator``, ``encoder``, or a table's kind.
        of: the name of its source, or its path.
        place: where it is or will be, a directory or a file.
        downloads: what has to be fetched; empty: it is here, or cannot be had.
        licence: of what is fetched or missing; None: it is here, or nobody could be asked.
        revision: the commit, where it is known.
        missing: why it cannot be had, and where to put it; None: it is here or can be fetched.
    """

    name: str
    of: str
    place: Path
    downloads: tuple[Download, ...] = ()
    licence: Licence | None = None
    revision: str | None = None
    missing: str | None = None

    @property
    def held(self) -> list[tuple[Path, int]]:
        """The files of it that are here, with their bytes."""
        files = sorted(self.place.iterdir()) if self.place.is_dir() else [self.place]
        return [(file, file.stat().st_size) for file in files if file.is_file() and ".part" not in file.suffixes]

    @property
    def size(self) -> int:
        """The bytes of it: of its weights where it is a checkpoint."""
        if self.name not in _MODELS:
            here = self.place.stat().st_size if self.place.is_file() else 0
        else:
            here = weights.size_of(self.place) if self.place.is_dir() else 0
        kept = [load for load in self.downloads if not load.target.name.endswith((".json", ".model", ".txt"))]
        return here + sum(load.size or 0 for load in kept)


@dataclass(frozen=True, slots=True)
class Given:
    """What the user says of the sources, in place of the recipe.

    Attributes:
        folder: that fetched files lie in.
        generator: a checkpoint's directory.
        encoder: likewise.
        tables: of codes, each with its kind; they replace all of the recipe's of their kinds.
        edition: of the knowledge base.
        raw_base: of the server for raw files of repositories.
    """

    folder: Path
    generator: Path | None = None
    encoder: Path | None = None
    tables: Sequence[tuple[str, Path]] = ()
    edition: str | None = None
    raw_base: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a bundle is made of: its recipe, and where each part is or will be."""

    recipe: Recipe
    generator: Part
    encoder: Part
    tables: tuple[Part, ...]

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts."""
        return (self.generator, self.encoder, *self.tables)

    @property
    def downloads(self) -> list[Download]:
        """All that has to be fetched."""
        return [load for part in self.parts for load in part.downloads]

    @property
    def licences(self) -> list[Licence]:
        """The licences of what is fetched, each once."""
        return list(dict.fromkeys(part.licence for part in self.parts if part.licence is not None and part.downloads))

    def require(self) -> None:
        """Refuse a plan of which something is missing.

        Raises:
            CheckpointError: naming all of it, and where to put each file.
        """
        missing = [f"\n  {part.missing}" for part in self.parts if part.missing is not None]
        if missing:
            raise CheckpointError(f"not all that the recipe {self.recipe.path} needs is here:{''.join(missing)}")


def make_plan(recipe: Recipe, given: Given) -> Plan:
    """Find out where everything is that a recipe needs, and ask its sources for what is not here.

    Raises:
        RecipeError: where a file that the recipe names is not there, and cannot be fetched.
        CheckpointError: where a checkpoint is neither a directory nor on the hub.
        DownloadError: where an address is none.
    """
    recipe = _with_given(recipe, given)
    recipe.check_files()
    generator = _locate(recipe, "generator", given.folder, given.generator)
    encoder = _locate(recipe, "encoder", given.folder, given.encoder)
    tables = tuple(_locate_table(table, given) for table in recipe.knowledge_base.tables)
    return Plan(recipe, generator, encoder, tables)


def carry_out(plan: Plan, progress: Progress) -> tuple[Recipe, Checkpoints]:
    """Fetch what a plan has to fetch; return the recipe with its tables' paths, and where the checkpoints are.

    Args:
        plan: of which nothing is missing.
        progress: is called with a file's name, how many of its bytes have come, and of how many (None: not known).

    Raises:
        CheckpointError: where the hub does not hand out a checkpoint.
        DownloadError: where a file cannot be had. What came stays, and is gone on with the next time.
    """
    tables = []
    for table, part in zip(plan.recipe.knowledge_base.tables, plan.tables, strict=True):
        for load in part.downloads:
            fetch_table(published_table(part.of), load, _telling(progress, load))
        tables.append(replace(table, path=part.place))
    for part in (plan.generator, plan.encoder):
        if part.downloads:
            _fetch_checkpoint(part, progress)
    base = replace(plan.recipe.knowledge_base, tables=tuple(tables))
    found = [Checkpoint(part.place, part.revision) for part in (plan.generator, plan.encoder)]
    return replace(plan.recipe, knowledge_base=base), Checkpoints(*found)


def local_checkpoints(recipe: Recipe) -> Checkpoints:
    """Return the checkpoints of a recipe that are here: its directories, or what the hub's own cache holds.

    Raises:
        CheckpointError: where one is not; it says how to get it.
    """
    return Checkpoints(_local(recipe, "generator"), _local(recipe, "encoder"))


def _local(recipe: Recipe, model: Model) -> Checkpoint:
    named = _named(recipe, model)
    part = _here(recipe, model) or _cached(model, named)
    if part is None:
        raise CheckpointError(
            f"{named.checkpoint!r} is no directory here and was not downloaded before; `cielo convert` fetches it, or "
            "name a local directory"
        )
    return Checkpoint(part.place, part.revision)


def _with_given(recipe: Recipe, given: Given) -> Recipe:
    kinds = {kind for kind, _ in given.tables}
    named = [TableRecipe(path, kind) for kind, path in given.tables]
    tables = (*named, *(table for table in recipe.knowledge_base.tables if table.kind not in kinds))
    edition = given.edition or recipe.knowledge_base.edition
    return replace(recipe, knowledge_base=replace(recipe.knowledge_base, tables=tables, edition=edition))


def _named(recipe: Recipe, model: Model) -> GeneratorRecipe | EncoderRecipe:
    return recipe.generator if model == "generator" else recipe.encoder


def _locate(recipe: Recipe, model: Model, folder: Path, given: Path | None) -> Part:
    if given is not None:
        if not given.is_dir():
            raise CheckpointError(f"there is no directory {given}; name the folder of a checkpoint ({_FILES})")
        return Part(model, str(given), given)
    named = _named(recipe, model)
    return _here(recipe, model) or _put_there(model, named, folder / model) or _on_the_hub(model, named, folder / model)


def _here(recipe: Recipe, model: Model) -> Part | None:
    """Return the checkpoint where the recipe names its directory; None: it names a model of the hub."""
    named = _named(recipe, model).checkpoint
    directory = recipe.path.absolute().parent / named
    if directory.is_dir():
        return Part(model, named, directory)
    if not _HUB_NAME.fullmatch(named):
        raise CheckpointError(
            f"there is no directory {directory}, and {named!r} is no hub name (owner/name); correct the recipe"
        )
    return None


def _put_there(model: Model, named: GeneratorRecipe | EncoderRecipe, place: Path) -> Part | None:
    """Return what an earlier command fetched, or the user put, where it is looked for."""
    if not weights.is_whole(place):
        return None
    origin = read_origin(place)
    if origin is None:
        return Part(model, named.checkpoint, place)
    asked = named.revision if named.revision and _COMMIT.fullmatch(named.revision) else origin.revision
    if (origin.name, origin.revision) != (named.checkpoint, asked):
        return None
    return Part(model, named.checkpoint, place, revision=origin.revision)


def _on_the_hub(model: Model, named: GeneratorRecipe | EncoderRecipe, place: Path) -> Part:
    hub = _hub()
    try:
        found = hub.look_up(named.checkpoint, named.revision, place)
    except DownloadError as error:
        cached = _cached(model, named)
        missing = (
            f"{model}: {named.checkpoint} is not here and was not downloaded before, and {error}: connect to the "
            f"network (and unset HF_HUB_OFFLINE), or put its files ({_FILES}) into {place}, or name their "
            f"folder with --{model}"
        )
        return cached or Part(model, named.checkpoint, place, missing=missing)
    cache = hub.downloaded(found)
    if cache is not None:
        return Part(model, named.checkpoint, cache, revision=found.commit)
    downloads = tuple(load for load in found.files if not matches(load))
    return Part(model, named.checkpoint, place, downloads, found.licence, found.commit)


def _cached(model: Model, named: GeneratorRecipe | EncoderRecipe) -> Part | None:
    folder = _hub().downloaded_before(named.checkpoint, named.revision)
    return None if folder is None else Part(model, named.checkpoint, folder, revision=folder.name)


def _hub() -> ModuleType:
    try:
        from cielo_convert import hub
    except ImportError as error:
        raise CieloError(f"conversion needs {error.name}; install it with: pip install 'cielo[convert]'") from error
    return hub


def _locate_table(table: TableRecipe, given: Given) -> Part:
    if table.source is None or table.path.is_file():
        return Part(table.kind, table.path.name, table.path)
    source = published_table(table.source)
    load = download_of(source, given.folder / "tables", given.raw_base)
    if load.target.is_file():
        return Part(table.kind, source.name, load.target)
    try:
        size = size_of(load.address)
    except DownloadError as error:
        missing = (
            f"{source.title}: {error}; put {source.layout} at {load.target}, or name the file with "
            f"--table {table.kind}=FILE"
        )
        return Part(table.kind, source.name, load.target, licence=source.terms, missing=missing)
    return Part(table.kind, source.name, load.target, (replace(load, size=size),), source.terms)


def _fetch_checkpoint(part: Part, progress: Progress) -> None:
    fetched = {}
    try:
        for load in part.downloads:
            fetched[load.target] = fetch(load, _telling(progress, load))
    except DownloadError as error:
        if error.status in (401, 403):
            raise _hub().closed(part.of, error) from error
        raise
    licence = part.licence.name if part.licence is not None else None
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    origin = Origin(part.of, licence or "", part.of.partition("/")[0], today, tuple(fetched.values()), part.revision)
    write_origin(part.place, origin)


def _telling(progress: Progress, load: Download) -> Callable[[int, int | None], None]:
    name = f"{load.target.parent.name}/{load.target.name}"
    return lambda done, total: progress(name, done, total)

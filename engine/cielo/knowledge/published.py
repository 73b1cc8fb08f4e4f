"""Tables of codes that others publish: where they are, on what terms, and how they are laid out.

Only sources whose address and terms are known stand here with an address. Of the others cielo says where to get them.
"""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass
from pathlib import Path

from cielo.downloads import Download, Progress, fetch
from cielo.errors import DownloadError, TableError
from cielo.licences import Licence
from cielo.origins import Origin, write_origin

RAW_BASE = "https://raw.githubusercontent.com"
RAW_BASE_VARIABLE = "CIELO_RAW_BASE"
_PAPER = "Vicomtech/generative-clinical-entity-linking"
_PAPER_AUTHORS = "Elena Zotova, Montse Cuadros, German Rigau: Generative Models for Clinical Entity Linking in Spanish"
_LAYOUT = "a table (TSV, CSV, XLSX) with a column of codes and a column of descriptions"


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """A table of codes that somebody publishes.

    Attributes:
        name: by which cielo knows it.
        title: what it holds.
        file: its file's name.
        kind: of its codes, ``diagnosis`` or ``procedure``.
        licence: None where its terms are not known; it is then not fetched.
        attribution: whom to name.
        page: where people read of it.
        layout: of the file.
        path: on the server for raw files of repositories; None: it is not fetched.
        sha256: of the file; None: it may change.
    """

    name: str
    title: str
    file: str
    kind: str
    licence: str | None
    attribution: str
    page: str
    layout: str = _LAYOUT
    path: str | None = None
    sha256: str | None = None

    @property
    def terms(self) -> Licence:
        """Its licence, for people."""
        return Licence(self.name, self.licence, self.page)

    def address(self, base: str | None = None) -> str:
        """Return where it is fetched from.

        Args:
            base: of the server for raw files; None: ``CIELO_RAW_BASE``, else GitHub's.

        Raises:
            DownloadError: where cielo does not fetch it; it says where to get it.
        """
        if self.path is None:
            raise DownloadError(
                f"{self.title} is not fetched by cielo, since its terms or its address are not sure: get it from "
                f"{self.page} as {self.layout}, and name the file with --table {self.kind}=FILE"
            )
        return f"{(base or os.environ.get(RAW_BASE_VARIABLE) or RAW_BASE).rstrip('/')}/{self.path}"


def _of_the_paper(kind: str, file: str) -> PublishedTable:
    return PublishedTable(
        name=f"cie-10-es-2020-{kind}",
        title=f"CIE-10-ES 2020, kind {kind}, in the casing that the published model writes",
        file=file,
        kind=kind,
        licence="CC BY-NC 4.0",
        attribution=_PAPER_AUTHORS,
        page=f"https://github.com/{_PAPER}",
        layout="TSV with the columns codigo and descripcion",
        path=f"{_PAPER}/HEAD/icd_10_es/{file}",
    )


TABLES = {
    table.name: table
    for table in (
        _of_the_paper("diagnosis", "ICD10_diagnosticos_2020.tsv"),
        _of_the_paper("procedure", "ICD10_procedimientos_2020.tsv"),
        PublishedTable(
            name="cie-10-es",
            title="the Spanish Ministry's CIE-10-ES",
            file="cie-10-es.tsv",
            kind="diagnosis",
            licence=None,
            attribution="Ministerio de Sanidad",
            page="https://www.sanidad.gob.es",
        ),
        PublishedTable(
            name="icd-10-cm",
            title="the English ICD-10-CM",
            file="icd-10-cm.tsv",
            kind="diagnosis",
            licence="public domain",
            attribution="National Center for Health Statistics",
            page="https://www.cdc.gov/nchs/icd/icd-10-cm",
        ),
    )
}


def published_table(name: str) -> PublishedTable:
    """Return a table by its name.

    Raises:
        TableError: naming those that there are.
    """
    if name not in TABLES:
        raise TableError(f"got the source {name!r}; cielo knows {', '.join(TABLES)}")
    return TABLES[name]


def fetch_table(table: PublishedTable, download: Download, progress: Progress | None = None) -> Origin:
    """Fetch a table, and keep a record of where it is from beside it.

    Raises:
        DownloadError: where it cannot be had or written; it says where to put the file.
    """
    fetched = fetch(download, progress)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    origin = Origin(table.name, table.licence or "", table.attribution, today, (fetched,))
    write_origin(download.target, origin)
    return origin


def download_of(table: PublishedTable, folder: Path, base: str | None = None) -> Download:
    """Return the download of a table into a folder.

    Raises:
        DownloadError: where cielo does not fetch it.
    """
    return Download(table.address(base), folder / table.file, sha256=table.sha256)

"""Stored outputs, resolved against tables of one's own: a knowledge base and, for pipeline II, an index over it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from cielo.bundle.hashes import VerifyFiles, check_files
from cielo.bundle.layout import KNOWLEDGE_BASE, Bundle
from cielo.knowledge.building import build_knowledge_base
from cielo.knowledge.code_tables import CodeTable
from cielo.knowledge.codes import System, guess_system
from cielo.knowledge.reading import KnowledgeBase
from cielo.link.resolver import Resolver
from cielo.link.steps import open_lexicon
from cielo.machine import usable_cores
from cielo.retrieval.embedder import Embedder
from cielo.retrieval.index import Index, IndexSettings
from cielo.text.tokenizer import Tokenizer
from cielo.workbench.evaluation.run import Replay


@contextlib.contextmanager
def open_replay(
    folder: Path,
    tables: Sequence[CodeTable],
    bundle: Bundle | None = None,
    *,
    lexicon: Path | None = None,
    threads: int | None = None,
    verify_files: VerifyFiles = "once",
) -> Iterator[Replay]:
    """Open what stored outputs are resolved with.

    Args:
        folder: for the knowledge base, which is built again.
        tables: of codes and descriptions.
        bundle: whose encoder embeds the descriptions and the outputs that have no match; None: pipeline I alone.
        lexicon: of mentions and codes, asked before the stored output; None: there is none.
        threads: of the encoder; None: the processors.
        verify_files: when the encoder's files are hashed; see `cielo.bundle.hashes.check_files`.

    Raises:
        TableError: where a table or the lexicon cannot be read.
        BundleError: where the encoder was altered or cannot be opened.
    """
    path = folder / KNOWLEDGE_BASE
    edition = ", ".join(table.path.name for table in tables)
    # Every row counts, as in the paper: none is refused for its code.
    build_knowledge_base(path, tables, edition=edition, systems={table.kind: "other" for table in tables})
    with contextlib.ExitStack() as opened:
        base = KnowledgeBase(path)
        opened.callback(base.close)
        asked = None if lexicon is None else open_lexicon(lexicon, base)
        if bundle is None:
            yield Replay(Resolver(base), edition, 0.0, _systems(base), lexicon=asked)
            return
        check_files(bundle, verify_files, [bundle.encoder, bundle.encoder_tokenizer])
        tokenizer = Tokenizer(bundle.encoder_tokenizer, bundle.manifest.encoder.max_tokens)
        embedder = Embedder(bundle.encoder, tokenizer, threads=threads or usable_cores())
        opened.callback(embedder.close)
        indexes = {}
        for kind in base.kinds:
            texts = base.descriptions(kind)
            indexes[kind] = Index.build(texts, embedder.embed(texts), IndexSettings())
        limit = bundle.manifest.index.max_distance
        resolver = Resolver(base, embedder, indexes)
        yield Replay(resolver, edition, limit, _systems(base), bundle.name, bundle.sha256, asked)


def _systems(base: KnowledgeBase) -> dict[str, System]:
    return {kind: guess_system(base.codes(kind)) for kind in base.kinds}

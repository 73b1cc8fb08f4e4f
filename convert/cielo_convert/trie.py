"""The trie of the knowledge base's descriptions, in the tokens of the generator's tokenizer.

Every bundle gets one, whatever backends it has: of 180,000 descriptions it takes 11 MB and 4 s, beside weights of 1 GB
and the hours of the rest, and the gate then says for each bundle whether its descriptions can be written at all. It is
read only where the backend can search in it.
"""

from __future__ import annotations

from cielo.bundle.layout import Layout
from cielo.bundle.manifest import TrieSection
from cielo.bundle.trie import DescriptionTrie
from cielo.knowledge.reading import KnowledgeBase
from cielo.text.tokenizer import Tokenizer


def build_trie(layout: Layout) -> TrieSection:
    """Write the trie of a bundle whose knowledge base and generator's tokenizer are in place.

    Returns:
        The manifest's section.
    """
    base = KnowledgeBase(layout.knowledge_base)
    try:
        trie = DescriptionTrie.build(base.texts(), Tokenizer(layout.generator_tokenizer))
    finally:
        base.close()
    trie.save(layout.trie)
    return trie.section

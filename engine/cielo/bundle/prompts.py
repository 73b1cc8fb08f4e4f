"""The prompts of a bundle's model, and how long they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cielo.bundle.layout import Bundle
from cielo.bundle.manifest import PromptSettings
from cielo.records import Mention
from cielo.text.prompt import LineEnds, build_prompt
from cielo.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Prompts:
    """How a bundle's model is asked."""

    tokenizer: Tokenizer
    settings: PromptSettings

    @classmethod
    def of(cls, bundle: Bundle) -> Prompts:
        """Open those of a bundle, and nothing else of it.

        Raises:
            BundleError: where the tokenizer cannot be loaded.
        """
        manifest = bundle.manifest
        return cls(Tokenizer(bundle.generator_tokenizer, manifest.generator.max_source_tokens), manifest.prompt)

    def prompt(self, term: str, sentence: str | None, *, line_ends: LineEnds = "space") -> str:
        """Return the prompt of a mention, prepared as the bundle's model was trained; see `build_prompt`.

        Of a long one there is no more than the tokenizer looks at, and one character, so that it is seen to be cut.
        """
        most = self.tokenizer.most_characters
        return build_prompt(
            term,
            sentence,
            prepare=self.settings.prepare_sentence,
            window=self.settings.window,
            line_ends=line_ends,
            longest=None if most is None else most + 1,
        )

    def lengths(self, mentions: Sequence[Mention]) -> list[int]:
        """Return the tokens of each mention's prompt, ``</s>`` included, as far as the model looks at them."""
        prompts = [self.prompt(mention.text, mention.sentence) for mention in mentions]
        return [len(encoded.ids) for encoded in self.tokenizer.encode(prompts)]

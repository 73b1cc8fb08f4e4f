"""The ways to run one model that `benchmarks.compare` compares, each in a process of its own.

A rival is a module with `open_rival(inputs, directory, options)`, which returns a `Runner`, and, where it needs files
of its own, `prepare(inputs, directory)`, which writes them. Modules import their libraries inside these functions:
what is missing then becomes a line of the table. Nothing here needs more than the standard library, so that a rival
can run with another interpreter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

BEAMS = 5
MAX_NEW_TOKENS = 128
DECODINGS = ("published", "probable")
# Without early stopping, PyTorch's search ends when nothing better can follow, as `probable` wants it.
SEARCHES: dict[str, dict[str, Any]] = {
    "published": {"early_stopping": True, "length_penalty": 1.0},
    "probable": {"early_stopping": False, "length_penalty": 0.0},
}


@dataclass(frozen=True, slots=True)
class Inputs:
    """What every rival is given.

    Attributes:
        checkpoint: an mT5 checkpoint with its tokenizer.json, as transformers reads it.
        bundle: a cielo bundle of it; None where only other rivals run.
        max_source_tokens: longest prompt, ``</s>`` included.
        cores: the processors that a rival may use.
    """

    checkpoint: str
    bundle: str | None
    max_source_tokens: int
    cores: int

    def to_dict(self) -> dict[str, Any]:
        """Return the inputs as a dictionary."""
        return asdict(self)


class Runner(Protocol):
    """An opened rival."""

    def encode(self, prompts: list[str]) -> list[list[int]]:
        """Return each prompt's ids, ``</s>`` included, by the rival's own tokenizer."""
        ...

    def run(self, ids: list[list[int]], decoding: str, scores: bool) -> list[tuple[str, float | None]]:
        """Search with five beams for five hypotheses of each row, and return text and score of the best.

        Where `scores` is false the time is taken, and a score that costs extra is left out.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Return versions and settings, for the notes below the table."""
        ...


@dataclass(frozen=True, slots=True)
class Variant:
    """A setting of a rival: variables of its environment, and options for its `open_rival`."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


DEFAULT = Variant("its defaults")


@dataclass(frozen=True, slots=True)
class Rival:
    """A rival, as the comparison knows it.

    Attributes:
        name: on the command line.
        title: in the table.
        module: dotted name, or path of a file.
        variants: settings of which the fastest is taken.
        prepares: whether it has files of its own to make first.
        interpreter: which of the comparison's interpreters runs it.
        bundle: which of the comparison's bundles it gets.
        decodings: the searches that it takes part in.
    """

    name: str
    title: str
    module: str
    variants: tuple[Variant, ...] = (DEFAULT,)
    prepares: bool = False
    interpreter: str = "own"
    bundle: str | None = None
    decodings: tuple[str, ...] = DECODINGS


_SLEEPING = Variant("waiting threads sleep", {"OMP_WAIT_POLICY": "passive"})


def _cielo(backend: str, search: str = "beams", **options: Any) -> Variant:
    return Variant(DEFAULT.name, options={"backend": backend, "search": search, **options})


RIVALS = (
    Rival("torch_float32", "PyTorch float32", "benchmarks.rivals.torch_float32", (DEFAULT, _SLEEPING)),
    Rival(
        "torch_int8",
        "PyTorch dynamic int8",
        "benchmarks.rivals.torch_int8",
        (Variant("fbgemm", options={"engine": "fbgemm"}), Variant("onednn", options={"engine": "onednn"})),
    ),
    Rival(
        "optimum_onnx_int8",
        "optimum, ONNX Runtime int8",
        "benchmarks.rivals.optimum_onnx_int8",
        (DEFAULT, Variant("waiting threads sleep", options={"spinning": False})),
        prepares=True,
    ),
    Rival(
        "openvino_int8",
        "optimum-intel, OpenVINO int8",
        "benchmarks.rivals.openvino_int8",
        prepares=True,
        interpreter="openvino",
    ),
    Rival(
        "ctranslate2_defaults",
        "CTranslate2 int8, its defaults",
        "benchmarks.rivals.ctranslate2_defaults",
        prepares=True,
    ),
    Rival(
        "cielo_full",
        "cielo without output vocabulary",
        "benchmarks.rivals.cielo",
        (_cielo("ctranslate2"),),
        bundle="full",
    ),
    Rival("cielo", "cielo", "benchmarks.rivals.cielo", (_cielo("ctranslate2"),), bundle="cut"),
    Rival("cielo_onnx", "cielo (onnx)", "benchmarks.rivals.cielo", (_cielo("onnx"),), bundle="cut"),
    # They answer with the most probable description: what `probable` looks for, among descriptions alone. The default
    # proves the second too.
    *(
        Rival(
            name,
            title,
            "benchmarks.rivals.cielo",
            (_cielo("onnx", "constrained", proven=proven),),
            bundle="cut",
            decodings=("probable",),
        )
        for name, title, proven in (
            ("cielo_constrained", "cielo (constrained)", 2),
            ("cielo_constrained_one", "cielo (constrained, one proven)", 1),
        )
    ),
)


def find_rival(name: str) -> Rival:
    """Return the rival of a name; a path that ends in ``.py`` is a rival module of one's own.

    Raises:
        ValueError: where there is none.
    """
    for rival in RIVALS:
        if rival.name == name:
            return rival
    path = Path(name)
    if path.suffix == ".py" and path.is_file():
        return Rival(path.stem, path.stem, str(path.resolve()))
    known = ", ".join(rival.name for rival in RIVALS)
    raise ValueError(f"got rival {name!r}, expected some of {known}, or the path of a module")

"""What passes between the server and its worker: frames of MessagePack, each behind its length in four bytes."""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from cielo.options import LinkOptions
from cielo.records import BundleIdentity, Mention
from cielo.wire import Problem

_HEAD: Final = struct.Struct(">I")
HEAD_BYTES: Final = _HEAD.size
LONGEST = 1 << 30


class Batch(msgspec.Struct, tag=True, frozen=True):
    """Mentions to be linked together. `use`: which linker, ``single`` or ``bulk``."""

    number: int
    use: str
    options: LinkOptions
    mentions: list[Mention]


class Ping(msgspec.Struct, tag=True, frozen=True):
    """Answer, if you live."""


class Pong(msgspec.Struct, tag=True, frozen=True):
    """The answer to a ping; `memory` in bytes."""

    memory: int | None


class Ready(msgspec.Struct, tag=True, frozen=True):
    """The models are open and warm.

    Attributes:
        backends: by use.
        batch_tokens: of a batch that keeps all processors busy.
        tokens_per_second: as the first batch showed.
    """

    bundle: BundleIdentity
    backends: dict[str, str]
    compute_type: str
    device: str
    decoding: str
    batch_tokens: int
    tokens_per_second: float


class Unable(msgspec.Struct, tag=True, frozen=True):
    """The bundle cannot be opened; `usage`: as it was asked for, by a wrong setting."""

    message: str
    usage: bool


class Linked(msgspec.Struct, tag=True, frozen=True):
    """A link as JSON (`Link.to_dict`), and its method."""

    json: bytes
    method: str


class Refused(msgspec.Struct, tag=True, frozen=True):
    """Why a mention has no link; `field`: of the mention, or ``options``, which all of the batch share."""

    problem: Problem
    message: str
    field: str | None = None


class Done(msgspec.Struct, tag=True, frozen=True):
    """What became of the mentions of a batch, in their order; `stages` in seconds, `memory` in bytes."""

    number: int
    outcomes: list[Linked | Refused]
    seconds: float
    stages: dict[str, float]
    memory: int | None


ToWorker = Batch | Ping
FromWorker = Ready | Unable | Pong | Done
_encoder = msgspec.msgpack.Encoder()
_to_worker = msgspec.msgpack.Decoder(ToWorker)
_from_worker = msgspec.msgpack.Decoder(FromWorker)


def pack(frame: ToWorker | FromWorker) -> bytes:
    """Return a frame as bytes, its length at the head."""
    content = _encoder.encode(frame)
    return _HEAD.pack(len(content)) + content


def length_of(head: bytes) -> int:
    """Return the length of the frame behind a head.

    Raises:
        ValueError: where it is longer than any frame.
    """
    (length,) = _HEAD.unpack(head)
    if length > LONGEST:
        raise ValueError(f"got a frame of {length} bytes, expected at most {LONGEST}")
    return int(length)


def to_worker(content: bytes) -> ToWorker:
    """Return a frame that the worker was sent."""
    return _to_worker.decode(content)


def from_worker(content: bytes) -> FromWorker:
    """Return a frame that the worker has sent."""
    return _from_worker.decode(content)

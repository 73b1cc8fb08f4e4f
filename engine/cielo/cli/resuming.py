"""Runs that can be gone on with: ``cielo link --input FILE --output FILE --resume``.

What is done stands beside the output, in ``.NAME.partial``, until the run is finished: a line that says what the run
is, then the links of each row. It is kept only where it is asked for, readable by its owner alone, since what the model
wrote can hold a patient's words.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Self

from cielo import schema
from cielo.bulk.identity import identity_of
from cielo.bulk.records import BulkOptions, Identity, InputFile
from cielo.errors import TableError
from cielo.files import sha256_of
from cielo.link.linker import CHUNK, Linker
from cielo.options import LinkOptions
from cielo.records import Json
from cielo.tables.links import restored, stored


class Partial:
    """The rows of a run that are done.

    Attributes:
        done: how many were there at the beginning: whole chunks of the linker's, so that a run that goes on links the
            same batches as one that was never stopped.
    """

    def __init__(self, target: Path, identity: Identity) -> None:
        """Open what stands beside an output, or begin it.

        Raises:
            TableError: where it is of another run, another process is at work at it, or it cannot be written.
        """
        self.path = target.with_name(f".{target.name}.partial")
        self._head = schema.canonical(identity) + b"\n"
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            self._stream: BinaryIO = os.fdopen(descriptor, "r+b")
        except OSError as error:
            raise self._refused(error) from error
        try:
            self._lock()
            self.done = self._begin(identity)
        except BaseException:
            self._stream.close()
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TableError(f"{self.path}: another process is at work at this output; wait for it to end") from error

    def _begin(self, identity: Identity) -> int:
        """Check whose rows they are, cut off what is no whole chunk, and return how many are left."""
        head = self._stream.readline()
        if not head.endswith(b"\n"):  # new, or stopped before anything was done
            self._stream.seek(0)
            self._stream.truncate()
            self._stream.write(self._head)
            self._stream.flush()
            return 0
        if head != self._head:
            self._refuse(head, identity)
        ends = [self._stream.tell()]
        while (line := self._stream.readline()).endswith(b"\n"):
            ends.append(ends[-1] + len(line))
        done = (len(ends) - 1) // CHUNK * CHUNK
        self._stream.seek(ends[done])
        self._stream.truncate()
        return done

    def _refuse(self, head: bytes, identity: Identity) -> None:
        before = schema.decode(Identity, head, str(self.path), error=TableError, remedy="remove it, and run again")
        shown = "".join(f"\n  {one}" for one in before.differences(identity))
        raise TableError(
            f"{self.path}: is of a run with other settings:{shown}\ngive what it was begun with, or remove it"
        )

    def stored(self) -> Iterator[dict[str, Json]]:
        """Yield what is done of each row."""
        with self.path.open("rb") as stream:
            stream.readline()
            for _ in range(self.done):
                yield restored(json.loads(stream.readline()))

    def append(self, columns: Mapping[str, Json]) -> None:
        """Keep what is done of the next row.

        Raises:
            TableError: where it cannot be written.
        """
        try:
            self._stream.write(json.dumps(stored(columns)).encode() + b"\n")
            self._stream.flush()
        except OSError as error:
            raise self._refused(error) from error

    def finish(self) -> None:
        """Remove it: the output is whole."""
        self.path.unlink(missing_ok=True)

    def _refused(self, error: OSError) -> TableError:
        return TableError(f"{self.path}: cannot be written ({error.strerror}); mend that, or run without --resume")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError, io.UnsupportedOperation):
            self._stream.close()


def identity_of_rows(source: Path, linker: Linker, linking: LinkOptions, reading: BulkOptions) -> Identity:
    """Return all that the links of a file's rows depend on.

    Raises:
        TableError: where the file cannot be read.
    """
    try:
        file = InputFile(source.name, source.stat().st_size, sha256_of(source))
    except OSError as error:
        raise TableError(f"{source}: cannot be read ({error.strerror}); name a file that can be") from error
    return identity_of(linker, linking, reading, (file,))

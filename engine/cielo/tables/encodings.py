"""The encoding of a text file, and its lines: those whose bytes are not text come through marked."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from typing import BinaryIO

from cielo.errors import TableError
from cielo.said import Said

_CHUNK = 1 << 20
_HEAD = 1 << 16
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_NAMES = {"utf-8": "UTF-8", "windows-1252": "Windows-1252", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}
_ERRORS = "cielo.mark"
UNDECODED = "\udcff"
_LEAST_PAIRS = 4
# What UTF-8 becomes where it was read as Windows-1252 or Latin-1: ``Ã±`` for ``ñ``, ``Â¿`` for ``¿``, ``â€œ``.
_MOJIBAKE = re.compile("Ã[\x80-\xbf‘’“”‚„†‡ˆ‰Š‹ŒŽ˜™š›œžŸ–—•…€]|Â[\xa0-\xbf]|â€")
# What the accented letters of the code pages of DOS become there: ``¢`` for ``ó``, ``¤`` for ``ñ``, ``‚`` for ``é``.
_DOS = re.compile(r"[^\W\d_][¢¤£¥¡‚]|[¢¤£¥][^\W\d_]|‚[^\W\d_]")
_LOST = "\ufffd"
# What no text of western Europe holds: letters of Iceland apart, and what the code pages of DOS become.
_ODD = re.compile("[ÿþðÞÐ¢¤¥¦¬¨¯¸‚ƒ†‡ˆ‰˜\ufffd]")
_LETTER = re.compile("[^\x00-\x7f\xa0]")
# So many lines with other letters than ASCII's are looked at for such signs.
_LOOKED_AT = 20_000


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Stand in for `surrogateescape`, which UTF-16 cannot use: what is not text becomes one lone surrogate."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return UNDECODED, error.end


codecs.register_error(_ERRORS, _mark)


class Signs:
    """Counts the signs that a text was decoded wrongly before it came here; nothing is repaired."""

    def __init__(self) -> None:
        self._left = _LOOKED_AT
        self._counts = {"mojibake": 0, "dos": 0, "lost": 0}

    def look(self, text: str) -> None:
        """Look at a line or a cell that is not ASCII."""
        if not self._left:
            return
        self._left -= 1
        # To look for a character is ten times as fast as the expressions.
        if "Ã" in text or "Â" in text or "â" in text:
            self._counts["mojibake"] += _MOJIBAKE.search(text) is not None
        if "¢" in text or "¤" in text or "£" in text or "¥" in text or "¡" in text or "‚" in text:
            self._counts["dos"] += _DOS.search(text) is not None
        self._counts["lost"] += _LOST in text

    def warnings(self) -> Iterator[str]:
        """Yield a sentence for each kind of sign that was seen."""
        if count := self._counts["mojibake"]:
            yield Said(
                "{count:,} row(s) show signs of UTF-8 that was read as Windows-1252 and saved again (such as `Ã±` or "
                "`Ã³`); nothing was repaired: export the table again",
                count=count,
            )
        if count := self._counts["dos"]:
            yield Said(
                "{count:,} row(s) show signs of a code page of DOS (such as `¢` or `¤` inside words); nothing was "
                "repaired: name the encoding, cp850 or cp437",
                count=count,
            )
        if count := self._counts["lost"]:
            yield Said(
                "{count:,} row(s) hold U+FFFD, which stands for lost letters; export the table again", count=count
            )


def not_decoded(encoding: str) -> Said:
    """Return the reason of a row whose bytes are not text."""
    name = _NAMES.get(encoding, encoding)
    return Said("the row is not {name}; save the file as UTF-8 or name its encoding", name=name)


def encoding_of(stream: BinaryIO) -> tuple[str, BinaryIO]:
    """Return the encoding of a text, and the stream to read it from, from its beginning.

    A byte order mark decides (UTF-8, UTF-16 in either order). Without one it is UTF-16 where every other byte is zero
    as in western text, else UTF-8 if all of it is valid UTF-8. If some is not, it is Windows-1252 where more lines are
    text of western Europe so than are valid UTF-8, and no more hold signs that such text has not; else UTF-8, and the
    other lines are errors of their rows. Of what can be read only once the first part stands for all.

    Raises:
        TableError: where it seems to be in a code page of DOS, whose letters cannot be told apart without its name.
        OSError: where it cannot be read.
    """
    if not stream.seekable():
        head = stream.read1(_HEAD) if isinstance(stream, io.BufferedReader) else stream.read(_HEAD)
        whole, _, _ = head.rpartition(b"\n")
        return _encoding(io.BytesIO(whole or head)), io.BufferedReader(Rejoined(head, stream))
    start = stream.tell()
    encoding = _encoding(stream)
    stream.seek(start)
    return encoding, stream


class Rejoined(io.RawIOBase):
    """The part of a stream that was looked at, and the rest."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Give the next bytes: of the part first."""
        part = self._head[: len(buffer)]
        if part:
            self._head = self._head[len(buffer) :]
        else:
            read = getattr(self._rest, "read1", self._rest.read)
            part = read(len(buffer)) or b""
        buffer[: len(part)] = part
        return len(part)


def _encoding(stream: BinaryIO) -> str:
    start = stream.tell()
    chunk = stream.read(_CHUNK)
    marked = next((name for mark, name in _MARKS if chunk.startswith(mark)), None) or unmarked_utf16(chunk[:_HEAD])
    if marked is not None:
        return marked
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while chunk:
            decoder.decode(chunk)
            chunk = stream.read(_CHUNK)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        stream.seek(start)
        return _likelier(stream)
    return "utf-8"


def unmarked_utf16(head: bytes) -> str | None:
    """Return which UTF-16 a text is that has no byte order mark; None: none."""
    even, odd, pairs = head[::2].count(0), head[1::2].count(0), len(head) // 2
    if pairs < _LEAST_PAIRS or min(even, odd) * 20 > pairs:
        return None
    return "utf-16-le" if odd * 10 > pairs * 7 else "utf-16-be" if even * 10 > pairs * 7 else None


def _likelier(stream: BinaryIO) -> str:
    valid = western = odd = dos = 0
    for line in stream:
        if line.isascii():
            continue
        try:
            line.decode("utf-8")
            valid += 1
        except UnicodeDecodeError:
            text = line.decode("windows-1252", "replace")
            dos += _DOS.search(text) is not None
            if _ODD.search(text) or _DOS.search(text):
                odd += 1
            else:
                western += bool(_LETTER.search(text))  # a space that does not break is á in the code pages of DOS
    if dos > western and not valid:
        raise TableError(
            "its encoding is not known: it is no UTF-8, and as Windows-1252 its accented letters are signs such as `¢` "
            "or `¤`; name the encoding (--encoding cp850, or windows-1252), or save the file as UTF-8"
        )
    return "windows-1252" if western > valid and western >= odd else "utf-8"


def open_lines(stream: BinaryIO, name: str, encoding: str | None = None) -> tuple[str, Iterator[str]]:
    """Return the encoding of a text and its lines with their ends, without a byte order mark.

    A line ends with a line feed, with or without a carriage return before it; with a carriage return where the
    beginning of the text has no line feed at all. Where bytes are not text, the line holds `UNDECODED`.

    Raises:
        TableError: where the encoding is not known.
        OSError: where the stream cannot be read.
    """
    found = encoding
    if found is None:
        try:
            found, stream = encoding_of(stream)
        except TableError as error:
            raise TableError(f"{name}: {error}") from None
    try:
        codecs.lookup(found)
        text = io.TextIOWrapper(stream, encoding=found, errors=_ERRORS, newline="\n")
    except (LookupError, ValueError) as error:
        raise TableError(f"{name}: the encoding {found!r} is not known; name utf-8, utf-16 or windows-1252") from error
    return found, _unmarked(text)


def _unmarked(text: io.TextIOWrapper) -> Iterator[str]:
    first = text.readline(_HEAD)
    if "\r" in first and "\n" not in first:
        yield from _returns(first.removeprefix("\ufeff"), text)
        return
    if len(first) == _HEAD and not first.endswith("\n"):
        first += text.readline()
    if first:
        yield first.removeprefix("\ufeff")
    yield from text


def _returns(beginning: str, text: io.TextIOWrapper) -> Iterator[str]:
    """Yield the lines of a text whose lines end with carriage returns, as old Macintosh programs write them."""
    rest = beginning
    while chunk := text.read(_CHUNK):
        *whole, rest = (rest + chunk).split("\r")
        yield from (f"{line}\n" for line in whole)
    *whole, rest = rest.split("\r")
    yield from (f"{line}\n" for line in whole)
    if rest:
        yield rest

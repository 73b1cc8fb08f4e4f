"""What a file holds, by its first bytes: many a table is called otherwise than it is."""

from __future__ import annotations

import codecs
import io
import re
from typing import BinaryIO, Literal, TypeAlias

from cielo.errors import TableError
from cielo.tables.encodings import Rejoined, unmarked_utf16
from cielo.tables.formats import INPUT_FORMATS, Format

Content: TypeAlias = Format | Literal["html", "xml-2003"]

HEAD = 1 << 16
WORKBOOKS: tuple[Format, ...] = ("xlsx", "xls")
_ZIP = b"PK\x03\x04"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_OTHERS = (
    (b"%PDF", "a PDF"), (b"\x89PNG", "an image"), (b"\xff\xd8\xff", "an image"), (b"SQLite format 3\x00", "a database"),
    (b"Rar!", "a RAR archive"), (b"7z\xbc\xaf\x27\x1c", "a 7z archive"), (b"{\\rtf", "a text document (RTF)"),
)  # fmt: skip
# In archives: the beginning of a name that tells what they hold.
_ARCHIVES = (
    (b"vnd.oasis.opendocument.spreadsheet", "an OpenDocument spreadsheet (ODS)"),
    (b"vnd.oasis.opendocument", "an OpenDocument file"), (b"word/", "a Word document"), (b"ppt/", "a presentation"),
)  # fmt: skip
_HTML = re.compile(r"<(?:!doctype\s+html|html|head|body|meta|style|table|div|center)\b", re.IGNORECASE)
_BEFORE = re.compile(r"^(?:<\?xml[^>]*>|<!--.*?-->|\s)+", re.DOTALL)
_XML_2003 = "urn:schemas-microsoft-com:office:spreadsheet"
_CONTROLS = bytes(byte for byte in range(32) if byte not in b"\t\n\r\x0b\x0c\x1b")
_LEAST = 1024  # bytes, below which nothing is said of their shares
_SAVE = "save it as XLSX or CSV"


def beginning_of(stream: BinaryIO) -> tuple[bytes, BinaryIO]:
    """Return the first bytes of a stream, and the stream to read all of it from."""
    if stream.seekable():
        start = stream.tell()
        head = stream.read(HEAD)
        stream.seek(start)
        return head, stream
    head = stream.read1(HEAD) if isinstance(stream, io.BufferedReader) else stream.read(HEAD)
    return head, io.BufferedReader(Rejoined(head, stream))


def content_of(stream: BinaryIO, head: bytes, name: str, named: Format | None) -> Content:
    """Return what a file holds: what it is called, unless its bytes are plainly of something else.

    Args:
        stream: of it, at its beginning.
        head: its first bytes.
        name: of it in errors.
        named: as its name tells; None: it tells nothing.

    Raises:
        TableError: where it is no table, or nothing tells what it is.
    """
    if named in ("json", "jsonl"):
        return named
    found = _by_bytes(stream, head, name, named) or _by_text(head, name, named)
    if found is None:
        raise TableError(f"{name}: its format is not known by its name; name it: {', '.join(INPUT_FORMATS)}")
    return found


def _by_bytes(stream: BinaryIO, head: bytes, name: str, named: Format | None) -> Content | None:
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(_ZIP):
        return _of_archive(head, name, named)
    if head.startswith(_OLE):
        if _ENCRYPTED in _whole(stream, head):
            raise TableError(f"{name}: the workbook is encrypted; save it without a password")
        return "xls"
    what = next((what for sign, what in _OTHERS if head.startswith(sign)), None)
    if what is not None:
        raise TableError(f"{name}: is {what}, no table; {_SAVE}")
    if head.startswith(b"\x1f\x8b"):
        raise TableError(f"{name}: is compressed by gzip; let its name end in .gz")
    return None


def _of_archive(head: bytes, name: str, named: Format | None) -> Content:
    is_workbook = b"xl/" in head or b"[Content_Types].xml" in head
    for sign, what in _ARCHIVES:
        if sign in head[:_LEAST] or (sign.endswith(b"/") and sign in head and b"xl/" not in head):
            raise TableError(f"{name}: is {what}, which is not read; {_SAVE}")
    if named in WORKBOOKS or is_workbook:
        return "xlsx"
    raise TableError(f"{name}: is a ZIP archive; unpack it and name a table in it")


def _whole(stream: BinaryIO, head: bytes) -> bytes:
    if not stream.seekable():
        return head
    start = stream.tell()
    content = stream.read()
    stream.seek(start)
    return content


def _by_text(head: bytes, name: str, named: Format | None) -> Content | None:
    if not head:
        return named
    if _is_binary(head):
        if named in (*WORKBOOKS, "parquet"):
            return named  # its reader says what is wrong
        raise TableError(f"{name}: is no text, but holds bytes of another kind of file; {_SAVE}")
    text = _decoded(head).lstrip("\ufeff \t\r\n")
    found = _marked_up(text, name)
    if found is not None:
        return found
    if named is None and text.startswith(("[", "{")):
        return "json"
    return "csv" if named in (*WORKBOOKS, None) and any(sign in text for sign in "\t;,|\n\r") else named or "csv"


def _marked_up(text: str, name: str) -> Content | None:
    if not text.startswith(("<", "MIME-Version:")):
        return None
    if _XML_2003 in text:
        return "xml-2003"
    if _HTML.match(_BEFORE.sub("", text)):
        return "html"
    if text.startswith("MIME-Version:"):
        raise TableError(f"{name}: is a web archive (MHTML), which is not read; {_SAVE}")
    if text.startswith("<?xml"):
        raise TableError(f"{name}: is XML, and no spreadsheet of Excel 2003; {_SAVE}")
    return None


def _is_binary(head: bytes) -> bool:
    if 0 not in head or head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or unmarked_utf16(head):
        return False
    return len(head) >= _LEAST and 20 * sum(map(head.count, _CONTROLS)) > len(head)


def _decoded(head: bytes) -> str:
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if head.startswith(mark):
            return head.decode(encoding, "replace")
    return head.decode(unmarked_utf16(head) or "utf-8", "replace")

"""Documents to typed records and back: manifests, recipes, calibrations, references, what a machine found out.

A record is a frozen dataclass; its annotations say what a document must hold (`msgspec.Meta` the ranges), its default
values what may be left out. `decode` names every problem of a document at once, each with its place.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
import types
import typing
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec

from cielo.errors import CieloError
from cielo.said import Said

_Record = TypeVar("_Record")

# Texts that have to hold something that can be seen.
Text = Annotated[str, msgspec.Meta(pattern=r"\S")]

_SURROGATE = re.compile("[\ud800-\udfff]")
_SHOWN = 20  # problems, of a document that has more
_SHORT = 60  # characters of a value that is shown
_NAMES: dict[object, str] = {
    str: "a text", int: "a whole number", float: "a number", bool: "true or false", Path: "the path of a file",
    type(None): "nothing",
}  # fmt: skip


def decode(
    kind: type[_Record],
    content: object,
    what: str,
    *,
    error: type[CieloError],
    remedy: str,
    shown: bool = False,
    unknown: Literal["refuse", "ignore"] = "refuse",
    folder: Path | None = None,
) -> _Record:
    """Return the record that a document holds.

    Args:
        kind: a dataclass, or a container of some.
        content: JSON as bytes, or what a parser made of a document: dictionaries, lists, texts, numbers.
        what: the document's name in errors.
        error: what to raise.
        remedy: what to do about a document that is not valid; the end of the error's message.
        shown: whether errors may show the document's values and keys; False for what can hold clinical text.
        unknown: whether keys that the record does not have are refused or passed over.
        folder: to which the document's relative paths refer; None: the current one.

    Raises:
        CieloError: as `error`, naming every problem.
    """
    document = parse(content, what, error=error, remedy=remedy, shown=shown) if isinstance(content, bytes) else content
    walk = _Walk(shown, refuse_unknown=unknown == "refuse")
    try:
        problems = list(walk.impossible(document, ""))
        if walk.refuse_unknown:
            problems += walk.problems(kind, document, "")
        if not problems:
            return msgspec.convert(document, kind, dec_hook=functools.partial(_decode_path, folder))
    except msgspec.ValidationError as invalid:
        problems = list(walk.problems(kind, document, "")) or [_of_a_record(invalid)]
    except RecursionError:
        problems = ["is nested too deeply"]
    raise error(_message(f"{what} is not valid", problems, remedy))


def parse(content: bytes, what: str, *, error: type[CieloError], remedy: str, shown: bool = False) -> object:
    """Return what a JSON document holds, as dictionaries, lists, texts and numbers. See `decode`.

    Raises:
        CieloError: as `error`, where it is no JSON in UTF-8, or an object holds a key twice.
    """
    twice: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            twice.extend(key for key in found if counts[key] > 1)
        return found

    try:
        document = json.loads(content.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as cause:
        raise error(f"{what} is not JSON in UTF-8; {remedy}") from cause
    if twice:
        names = [f"the key {key!r} stands twice in one object" for key in dict.fromkeys(twice)]
        raise error(_message(f"{what} is not valid", names if shown else ["a key stands twice in one object"], remedy))
    return document


def encode(record: object, *, indent: int = 1) -> bytes:
    """Return a record as JSON in UTF-8, ready for a file; a number that is not finite becomes null.

    Args:
        record: a dataclass, or a container of some.
        indent: spaces for each level; 0: all in one line.
    """
    content = msgspec.json.encode(record, enc_hook=plain)
    return (msgspec.json.format(content, indent=indent) if indent else content) + b"\n"


def canonical(record: object) -> bytes:
    """Return a record as JSON with sorted keys and no spaces: equal records give equal bytes."""
    return msgspec.json.encode(record, enc_hook=plain, order="sorted")


def to_builtins(record: object) -> Any:
    """Return a record as dictionaries, lists, texts and numbers."""
    return msgspec.json.decode(msgspec.json.encode(record, enc_hook=plain))


def _message(head: str, problems: list[str], remedy: str) -> str:
    shown = [*problems[:_SHOWN], *([f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else [])]
    if len(shown) == 1:
        return f"{head}: {shown[0]}; {remedy}"
    return f"{head}:{''.join(f'{chr(10)}  {problem}' for problem in shown)}\n{remedy}"


def _decode_path(folder: Path | None, kind: type, value: Any) -> Any:
    if kind is Path:
        return folder / value if folder is not None else Path(value)
    if kind is object:
        return value
    raise NotImplementedError(kind)


def plain(value: Any) -> Any:
    """Return as a text what msgspec knows no form of: a path, or a sentence that keeps its parts."""
    if isinstance(value, Path | Said):
        return str(value)
    raise NotImplementedError(type(value))


def _of_a_record(invalid: msgspec.ValidationError, path: str = "") -> str:
    message, _, inside = str(invalid).partition(" - at `$")
    place = f"{path}{inside.rstrip('`')}".removeprefix(".")
    return f"{place}: {message}" if place else message


@functools.cache
def _fields(kind: type) -> dict[str, tuple[Any, bool]]:
    """Return the type of each field of a dataclass, and whether a document may leave it out."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {
        field.name: (
            hints[field.name],
            field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING,
        )
        for field in dataclasses.fields(kind)
    }


def _is_section(kind: Any) -> bool:
    return get_origin(kind) in (dict, Mapping) or dataclasses.is_dataclass(kind)


class _Walk:
    """A walk through a document that gathers what is wrong with it, place by place."""

    def __init__(self, shown: bool, *, refuse_unknown: bool) -> None:
        self._shown = shown
        self.refuse_unknown = refuse_unknown

    def impossible(self, value: object, path: str) -> Iterator[str]:
        """Name what no document may hold: numbers that are not finite, and halves of surrogate pairs."""
        kind = type(value)
        if kind is float and not math.isfinite(value):  # type: ignore[arg-type]
            yield f"{path or 'it'}: got a number that is not finite, expected a finite one"
        elif kind is str and _SURROGATE.search(value):  # type: ignore[call-overload]
            yield f"{path or 'it'}: got half of a surrogate pair, expected Unicode text"
        elif kind is list:
            for place, entry in enumerate(value):  # type: ignore[var-annotated, arg-type]
                if type(entry) is not int:
                    yield from self.impossible(entry, f"{path}[{place}]")
        elif isinstance(value, dict):
            for key, entry in value.items():
                yield from self.impossible(entry, self._join(path, key))

    def problems(self, kind: Any, value: object, path: str) -> Iterator[str]:
        """Name what keeps a value from being of a type."""
        origin = get_origin(kind)
        if origin is Annotated:
            yield from self._in_range(kind, value, path)
        elif origin in (types.UnionType, typing.Union):
            yield from self._one_of_types(kind, value, path)
        elif origin is Literal:
            if not any(type(value) is type(known) and value == known for known in get_args(kind)):
                yield f"{path}: {self._got(value)}, expected one of {', '.join(map(str, get_args(kind)))}"
        elif origin in (list, tuple, frozenset):
            yield from self._entries(kind, value, path)
        elif origin in (dict, Mapping):
            yield from self._values(kind, value, path)
        elif dataclasses.is_dataclass(kind):
            yield from self._record(kind, value, path)
        else:
            yield from self._leaf(kind, value, path)

    def _record(self, kind: Any, value: object, path: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{path or 'it'}: got {_type_name(value)}, expected a section with keys"
            return
        wrong = list(self._of_fields(kind, value, path))
        yield from wrong
        if not wrong and hasattr(kind, "__post_init__"):  # what a record refuses as a whole
            try:
                msgspec.convert(value, kind, dec_hook=functools.partial(_decode_path, None))
            except msgspec.ValidationError as invalid:
                yield _of_a_record(invalid, path)

    def _of_fields(self, kind: Any, value: dict[Any, Any], path: str) -> Iterator[str]:
        known = _fields(kind)
        for name, (wanted, optional) in known.items():
            place = f"{path}.{name}" if path else name
            if name in value:
                yield from self.problems(wanted, value[name], place)
            elif not optional:
                yield f"{place} is missing"
        if self.refuse_unknown:
            yield from self._unknown(set(value) - set(known), sorted(known), path)

    def _unknown(self, keys: set[str], known: list[str], path: str) -> Iterator[str]:
        if keys and not self._shown:
            yield f"{path or 'it'}: holds {len(keys)} key(s) that are not known here; expected {', '.join(known)}"
            return
        for key in sorted(keys):
            yield f"{self._join(path, key)} is not known here; expected {', '.join(known)}"

    def _entries(self, kind: Any, value: object, path: str) -> Iterator[str]:
        wanted = get_args(kind)
        if not isinstance(value, list | tuple | frozenset):
            yield f"{path}: got {_type_name(value)}, expected a list"
            return
        if get_origin(kind) is tuple and wanted[-1] is not Ellipsis and len(value) != len(wanted):
            yield f"{path}: got {len(value)} entries, expected {len(wanted)}"
            return
        same = len(wanted) != len(value) or get_origin(kind) is not tuple or wanted[-1] is Ellipsis
        for place, entry in enumerate(value):
            yield from self.problems(wanted[0] if same else wanted[place], entry, f"{path}[{place}]")

    def _values(self, kind: Any, value: object, path: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{path}: got {_type_name(value)}, expected a section with keys"
            return
        keys, values = get_args(kind)
        for key, entry in value.items():
            place = self._join(path, key)
            wrong = next(self.problems(keys, key, place), None)
            if wrong is not None:
                allowed = f"; expected {', '.join(map(str, get_args(keys)))}" if get_origin(keys) is Literal else ""
                yield f"{place} is not known here{allowed}"
            else:
                yield from self.problems(values, entry, place)

    def _one_of_types(self, kind: Any, value: object, path: str) -> Iterator[str]:
        wanted = [one for one in get_args(kind) if one is not type(None)]
        if value is None and len(wanted) < len(get_args(kind)):
            return
        # A section is asked for what a section lacks, and whatever else for what the rest lacks.
        alike = [one for one in wanted if _is_section(one) == isinstance(value, dict)]
        if len(wanted) == 1 or len(alike) == 1:
            yield from self.problems((alike or wanted)[0], value, path)
        elif not any(next(self.problems(one, value, path), None) is None for one in wanted):
            names = " or ".join(_NAMES.get(one, getattr(one, "__name__", str(one))) for one in wanted)
            yield f"{path}: got {_type_name(value)}, expected {names}"

    def _in_range(self, kind: Any, value: object, path: str) -> Iterator[str]:
        inner, *rules = get_args(kind)
        wrong = list(self.problems(inner, value, path))
        if wrong:
            yield from wrong
            return
        try:
            msgspec.convert(value, kind, dec_hook=functools.partial(_decode_path, None))
        except msgspec.ValidationError:
            yield self._out_of_range(next(rule for rule in rules if isinstance(rule, msgspec.Meta)), value, path)

    def _out_of_range(self, rule: msgspec.Meta, value: object, path: str) -> str:
        if rule.pattern == r"\S":
            return f"{path} is empty, expected a text"
        if rule.min_length is not None and isinstance(value, list | tuple | dict | str):
            return f"{path}: got {len(value)} entries, expected at least {rule.min_length}"
        if rule.pattern is not None:
            return f"{path}: {self._got(value)}, expected a text of the form {rule.pattern}"
        return f"{path}: {self._got(value)}, expected {_range(rule)}"

    def _leaf(self, kind: Any, value: object, path: str) -> Iterator[str]:
        if kind in (object, Any) or (kind is Path and isinstance(value, str) and value):
            return
        # To the writer of a document a truth value is no number, and 1.0 is not a whole one.
        fits = isinstance(value, int | float) if kind is float else kind is not Path and isinstance(value, kind)
        if not fits or (isinstance(value, bool) and kind is not bool):
            yield f"{path}: got {_type_name(value)}, expected {_NAMES.get(kind, kind)}"

    def _got(self, value: object) -> str:
        if not self._shown and isinstance(value, str):
            return "got another text"
        text = repr(value)
        return f"got {text}" if len(text) <= _SHORT else f"got {_type_name(value)}"

    def _join(self, path: str, key: object) -> str:
        if not self._shown:
            return f"{path}[…]"
        name = str(key) if len(str(key)) <= _SHORT else f"{str(key)[:_SHORT]}…"
        return f"{path}.{name}" if path else name


def _range(rule: msgspec.Meta) -> str:
    least, most = rule.ge, rule.le
    if least is not None and most is not None:
        return f"{least} to {most}"
    if rule.gt is not None:
        return f"more than {rule.gt}"
    return f"at least {least}" if least is not None else f"at most {most}"


def _type_name(value: object) -> str:
    return type(value).__name__

"""Settings of the server: one record, from flags, the environment (``CIELO_SERVE_…``), one TOML file, and defaults.

Flags count before the environment, the environment before the file.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin

from msgspec import Meta

from cielo.bundle.hashes import VerifyFiles
from cielo.errors import OptionError
from cielo.machine import parse_size
from cielo.records import Decoding
from cielo.schema import decode

PREFIX = "CIELO_SERVE_"
_REMEDY = "mend it; `cielo serve --help` says what each setting means"

Count = Annotated[int, Meta(ge=1)]
Duration = Annotated[float, Meta(gt=0, le=86_400)]
Size = Annotated[str, Meta(pattern=r"\S")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """How the server runs. Sizes are written as ``8MB``, times are in seconds.

    Attributes:
        host: the address to listen at.
        port: 0: any that is free.
        bundle: its directory; None: ``CIELO_BUNDLE``, else the mini.
        backend: see `cielo.Linker.open`; so are `device`, `compute_type`, `threads`, `decoding`, `memory`, `cache`,
            `lexicon`, `verify_files` and `allow_unverified`.
        use: ``auto``: where the bundle has another backend for single mentions than for batches, both are opened, and
            the first answers at low load; ``single`` or ``bulk``: one alone.
        keys: a file of bearer keys, a line ``name key`` for each.
        allow_without_key: serve other machines without a key.
        allowed_hosts: names by which this server may be asked, ``*`` for any; empty: any, or those of this machine
            where `host` is its loopback address.
        code_system: addresses of the knowledge base's code systems, each ``KIND=URL`` or ``KIND=URL|VERSION``.
        max_mentions: in one request.
        max_characters: of one mention with its sentence.
        max_document_characters: of one document, or of one line of a stream.
        max_body: of one request.
        queue_tokens: that may wait or be worked at; None: as many as are worked off in `queue_seconds`, at the measured
            rate.
        queue_seconds: see `queue_tokens`.
        batch_tokens: that are handed to the models together; None: as the thread plan says.
        request_seconds: after which a request is given up.
        header_seconds: within which the headers of a request have to arrive.
        body_seconds: within which its body has to.
        drain_seconds: that requests at work have after SIGTERM.
        hang_seconds: after which a worker that does not answer is ended and started again.
        max_connections: at the same time.
        log_level: ``info`` logs every request.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    bundle: Path | None = None
    backend: str = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    compute_type: str | None = None
    threads: Count | None = None
    decoding: Decoding | None = None
    memory: Size | None = None
    cache: Path | None = None
    lexicon: Path | None = None
    verify_files: VerifyFiles = "once"
    allow_unverified: bool = False
    use: Literal["auto", "single", "bulk"] = "auto"
    keys: Path | None = None
    allow_without_key: bool = False
    allowed_hosts: tuple[str, ...] = ()
    code_system: tuple[str, ...] = ()
    max_mentions: Count = 256
    max_characters: Count = 20_000
    max_document_characters: Count = 200_000
    max_body: Size = "8MB"
    queue_tokens: Count | None = None
    queue_seconds: Duration = 5.0
    batch_tokens: Count | None = None
    request_seconds: Duration = 60.0
    header_seconds: Duration = 10.0
    body_seconds: Duration = 30.0
    drain_seconds: Duration = 30.0
    hang_seconds: Duration = 10.0
    max_connections: Count = 2048
    log_level: Literal["info", "warning", "error"] = "info"

    def __post_init__(self) -> None:
        for size in (self.max_body, self.memory):
            if size is not None:
                parse_size(size)  # raises ValueError
        if self.keys is None and not self.allow_without_key and not self.is_local:
            raise OptionError(
                f"got the address {self.host!r}, at which other machines can ask, and no key; name a file of keys "
                "(--keys), or allow it (--allow-without-key)"
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can ask."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def body_bytes(self) -> int:
        """`max_body` in bytes."""
        return parse_size(self.max_body)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names by which the server may be asked; empty: any."""
        named = self.allowed_hosts or (("localhost", "127.0.0.1", "::1", self.host) if self.is_local else ("*",))
        return () if "*" in named else named


def read_settings(
    flags: Mapping[str, object], environment: Mapping[str, str], file: Path | None = None
) -> ServeSettings:
    """Return the settings of all sources.

    Args:
        flags: by the settings' names; what was not given is not among them.
        environment: of the process.
        file: in TOML; None: there is none.

    Raises:
        OptionError: naming the setting and where it stands.
    """
    values = {} if file is None else _from_file(file)
    values |= _from_environment(environment)
    values |= flags
    return decode(ServeSettings, values, "the server's configuration", error=OptionError, remedy=_REMEDY, shown=True)


def _from_file(file: Path) -> dict[str, object]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"the file {file} cannot be read ({error.strerror}); name one that can") from error
    except ValueError as error:
        raise OptionError(f"the file {file} is not TOML in UTF-8 ({error}); {_REMEDY}") from error
    # Checked alone, so that the error says where the fault stands.
    known = {field.name for field in dataclasses.fields(ServeSettings)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise OptionError(f"the file {file}: {', '.join(unknown)} is no setting; expected {', '.join(sorted(known))}")
    for name, kind in _kinds().items():
        if name in values and _inner(kind) is Path:
            values[name] = str(file.parent / str(values[name]))
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    kinds = _kinds()
    given = {name: environment[variable] for name in kinds if (variable := f"{PREFIX}{name.upper()}") in environment}
    unknown = sorted(
        name for name in environment if name.startswith(PREFIX) and name.removeprefix(PREFIX).lower() not in kinds
    )
    if unknown:
        raise OptionError(f"{', '.join(unknown)} in the environment names no setting; {_REMEDY}")
    return {name: _parsed(name, text, _inner(kinds[name])) for name, text in given.items()}


def _kinds() -> dict[str, object]:
    return typing.get_type_hints(ServeSettings)


def _inner(kind: object) -> object:
    """Return the type of a setting without None and ranges; ``tuple`` for a list of texts."""
    if get_origin(kind) in (types.UnionType, typing.Union):
        kind = next(one for one in get_args(kind) if one is not type(None))
    return tuple if get_origin(kind) is tuple else kind


def _parsed(name: str, text: str, kind: object) -> object:
    try:
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.strip().lower()]
        if kind is tuple:
            return [part for part in text.split() if part]
        return kind(text) if kind in (int, float) else text
    except (ValueError, KeyError):
        wanted = "true or false" if kind is bool else "a number"
        raise OptionError(f"{PREFIX}{name.upper()}: got {text!r}, expected {wanted}") from None


def as_toml(settings: ServeSettings) -> str:
    """Return settings as a TOML file, with those that are not set as comments."""
    lines = ["# The settings of `cielo serve`, as they are in force."]
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        lines.append(f"# {field.name} =" if value is None else f"{field.name} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(str(value), ensure_ascii=False)

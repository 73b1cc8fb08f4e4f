"""Settings: one record from flags, environment and file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
import pytest
from cielo.cli.serve import serve
from cielo.errors import OptionError
from cielo.server.settings import ServeSettings, as_toml, read_settings
from click.testing import CliRunner


def test_flags_before_environment_before_file(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text('port = 1\nmax_mentions = 2\nbundle = "here"\nallowed_hosts = ["a"]\n')
    environment = {"CIELO_SERVE_PORT": "3", "CIELO_SERVE_MAX_MENTIONS": "4", "CIELO_BUNDLE": "x"}
    settings = read_settings({"port": 5}, environment, file)
    assert (settings.port, settings.max_mentions, settings.bundle) == (5, 4, tmp_path / "here")
    assert settings.allowed_hosts == ("a",)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("ALLOW_WITHOUT_KEY", "true", True),
        ("ALLOW_UNVERIFIED", "0", False),
        ("QUEUE_SECONDS", "2.5", 2.5),
        ("ALLOWED_HOSTS", "a b", ("a", "b")),
        ("KEYS", "file", Path("file")),
        ("DECODING", "greedy", "greedy"),
    ],
)
def test_the_environment(name: str, text: str, value: object) -> None:
    assert getattr(read_settings({}, {f"CIELO_SERVE_{name}": text}), name.lower()) == value


@pytest.mark.parametrize(
    ("flags", "environment", "expected"),
    [
        ({"port": 70000}, {}, "port"),
        ({}, {"CIELO_SERVE_PORT": "x"}, "CIELO_SERVE_PORT"),
        ({}, {"CIELO_SERVE_ALLOW_WITHOUT_KEY": "perhaps"}, "true or false"),
        ({}, {"CIELO_SERVE_PROT": "1"}, "CIELO_SERVE_PROT"),
        ({"max_body": "8 bananas"}, {}, "size such as"),
        ({"host": "0.0.0.0"}, {}, "--keys"),
        ({"host": "::"}, {}, "--keys"),
        ({"host": "a.hospital.example"}, {}, "--keys"),
        ({"decoding": "best"}, {}, "decoding"),
    ],
)
def test_what_is_wrong_is_named(flags: dict[str, object], environment: dict[str, str], expected: str) -> None:
    with pytest.raises(OptionError, match=expected):
        read_settings(flags, environment)


@pytest.mark.parametrize("content", ["port = ", "prot = 1", "port = 'x'", "\xff"])
def test_a_bad_file_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "serve.toml"
    file.write_text(content, encoding="latin-1")
    with pytest.raises(OptionError):
        read_settings({}, {}, file)


def test_a_public_address_is_allowed_with_a_key_or_when_told_so() -> None:
    assert ServeSettings(host="0.0.0.0", keys=Path("keys")).hosts == ()
    assert ServeSettings(host="0.0.0.0", allow_without_key=True).hosts == ()
    assert set(ServeSettings().hosts) == {"localhost", "127.0.0.1", "::1"}


def test_what_is_printed_can_be_read(tmp_path: Path) -> None:
    settings = read_settings({"port": 9, "keys": 'a"\\b\n', "allowed_hosts": ["x", "y"], "memory": "3GB"}, {})
    file = tmp_path / "printed.toml"
    file.write_text(as_toml(settings), encoding="utf-8")
    assert read_settings({"keys": str(settings.keys)}, {}, file) == settings


def test_every_setting_has_its_option_and_the_other_way_round() -> None:
    options = {option.name for option in serve.params if isinstance(option, click.Option)}
    assert options - {"config", "print_config", "quiet", "verbose"} == {
        field.name for field in dataclasses.fields(ServeSettings)
    }


def test_the_command_prints_the_settings_in_force() -> None:
    result = CliRunner().invoke(serve, ["--print-config", "--port", "9"], env={"CIELO_SERVE_THREADS": "3"})
    assert result.exit_code == 0
    assert {"port = 9", "threads = 3"} <= set(result.output.splitlines())

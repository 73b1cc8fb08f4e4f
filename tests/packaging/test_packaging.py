"""The files of the packaging are held to the code: every setting and every metric that they name exists."""

from __future__ import annotations

import configparser
import dataclasses
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from cielo.server.metrics import Metrics
from cielo.server.settings import PREFIX, ServeSettings

FOLDER = Path(__file__).parents[2] / "packaging"
SETTINGS = {field.name for field in dataclasses.fields(ServeSettings)}
_HISTOGRAM = r"(?:_bucket|_sum|_count)?"


def known_metrics() -> set[str]:
    """Return the names of the server's metrics, each once."""
    names = set(re.findall(r"^# TYPE (\w+)", Metrics().text().decode(), flags=re.MULTILINE))
    assert len(names) > 12
    return names


def named_metrics(text: str) -> set[str]:
    return {re.sub(_HISTOGRAM + "$", "", name) for name in re.findall(r"\bcielo_\w+", text)}


def text_of(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["alerts.yml", "grafana/dashboards/cielo.json"])
def test_every_metric_that_is_named_exists(name: str) -> None:
    named = named_metrics(text_of(name))
    assert named
    assert named <= known_metrics()


def test_the_dashboard_shows_every_metric() -> None:
    board = json.loads(text_of("grafana/dashboards/cielo.json"))
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    shown = named_metrics(" ".join(target["expr"] for panel in board["panels"] for target in panel["targets"]))
    assert known_metrics() - shown == {"cielo_batch_tokens"}


@pytest.mark.parametrize("name", ["Containerfile", "compose.yaml", "cielo.service", "README.md"])
def test_every_setting_that_is_named_exists(name: str) -> None:
    text = text_of(name)
    variables = {found.lower() for found in re.findall(rf"{PREFIX}([A-Z_]+)", text)}
    assert variables <= SETTINGS
    served = re.findall(r"cielo serve ([^\n`]*)", text)
    flags = {flag.replace("-", "_") for line in served for flag in re.findall(r"--([a-z-]+)", line)}
    assert flags <= SETTINGS | {"config", "print_config"}


def yaml_of(name: str) -> Any:
    return yaml.safe_load(text_of(name))


def test_the_compose_file_is_tight() -> None:
    compose = yaml_of("compose.yaml")
    cielo = compose["services"]["cielo"]
    assert (cielo["read_only"], cielo["cap_drop"]) == (True, ["ALL"])
    assert (FOLDER / cielo["build"]["context"] / cielo["build"]["dockerfile"]).is_file()
    for service in compose["services"].values():
        assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert set(service.get("secrets", [])) <= set(compose["secrets"])
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (FOLDER / source).exists() if source.startswith(".") else source in compose["volumes"]
    assert int(cielo["stop_grace_period"].rstrip("s")) > ServeSettings().drain_seconds + 5


def test_prometheus_asks_the_server() -> None:
    (job,) = yaml_of("prometheus.yml")["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"cielo:{ServeSettings().port}"]
    assert yaml_of("prometheus.yml")["rule_files"] == ["alerts.yml"]


def test_the_unit_of_systemd() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text_of("cielo.service"))
    service = unit["Service"]
    assert service["ProtectSystem"] == "strict"
    assert int(service["TimeoutStopSec"]) > ServeSettings().drain_seconds + 5
    assert "HUP" in service["ExecReload"]
    assert service["RestartPreventExitStatus"] == str(click.UsageError.exit_code)


def test_the_container_leaves_out_what_is_not_needed() -> None:
    text = text_of("Containerfile")
    final = text.rpartition("FROM ")[2]
    assert "g++" not in final
    assert re.search(r"^USER 10001$", final, flags=re.MULTILINE)
    kept = [line[1:] for line in text_of("Containerfile.dockerignore").splitlines() if line.startswith("!")]
    assert all((FOLDER.parent / name).exists() for name in kept)
    health = re.search(r"^HEALTHCHECK .*CMD (.+)$", final, flags=re.MULTILINE)
    assert health is not None
    assert compile(json.loads(health.group(1))[2], "health", "exec")


def test_the_check_is_a_script() -> None:
    assert subprocess.run(["bash", "-n", FOLDER / "check"], check=False).returncode == 0

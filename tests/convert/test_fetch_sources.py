"""`cielo convert NAME`, whole, against a server that plays the hub and the server for raw files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cielo import downloads
from cielo.bundle.layout import Bundle
from cielo.cli import main
from cielo.files import sha256_of
from cielo.origins import read_origin
from cielo_convert import recipes, room
from click.testing import CliRunner, Result

from tests.checkpoints import descriptions, make_encoder_checkpoint, make_generator_checkpoint
from tests.convert.fake_hub import COMMIT, Hub, serving

GENERATOR = "ezotova/medical-mt5-clinical-el-spanish"
ENCODER = "cambridgeltl/SapBERT-UMLS-2020AB-all-lang-from-XLMR-large"
RAW = "Vicomtech/generative-clinical-entity-linking/HEAD/icd_10_es"
TABLES = {"diagnosis": "ICD10_diagnosticos_2020.tsv", "procedure": "ICD10_procedimientos_2020.tsv"}
WEIGHTS = "model-00002-of-00003.safetensors"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("hub")
    generator = make_generator_checkpoint(
        folder / "generator", layout="sharded-safetensors", config_flag=True, seed=1, layers=3
    )
    (generator / "pytorch_model.bin").write_bytes(b"not wanted where there are safetensors")
    return {GENERATOR: generator, ENCODER: make_encoder_checkpoint(folder / "encoder", layout="bin")}


@pytest.fixture
def hub(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setattr(downloads, "_PAUSE", 0.0)
    with serving() as served:
        served.models = models
        served.licences = {GENERATOR: "cc-by-nc-4.0", ENCODER: "apache-2.0"}
        for number, file in enumerate(TABLES.values()):
            part = descriptions()[100 * number : 100 * (number + 1)]
            rows = "".join(f"{'DP'[number]}{row:02d}\t{text}\n" for row, text in enumerate(part[:99]))
            served.raw[f"{RAW}/{file}"] = f"codigo\tdescripcion\n{rows}".encode()
        monkeypatch.setenv("HF_ENDPOINT", served.address)
        monkeypatch.setenv("CIELO_RAW_BASE", f"{served.address}/raw")
        monkeypatch.setenv("CIELO_STATE", str(tmp_path / "state"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        yield served


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "published"


def run(output: Path, *more: str, recipe: str = "medical-mt5-large") -> Result:
    return CliRunner().invoke(main, ["convert", recipe, "--output", str(output), *more])


def small(tmp_path: Path) -> str:
    """Return the published recipe with few prompts: its references take the most of a test's time."""
    text = recipes.shipped()["medical-mt5-large"].read_text(encoding="utf-8")
    changed = text.replace("prompts = 300", "prompts = 4").replace("dimension = 256", "dimension = 16")
    changed = changed.replace("recall = 0.999", "recall = 0.9").replace(
        'quantization = "int8"', 'quantization = "float32"'
    )
    (tmp_path / "small.toml").write_text(changed, encoding="utf-8")
    return str(tmp_path / "small.toml")


def files_of(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_all_is_fetched_and_becomes_a_bundle(hub: Hub, output: Path, tmp_path: Path) -> None:
    hub.faults.cut[WEIGHTS] = 20_000
    hub.faults.cut[TABLES["diagnosis"]] = 100
    done = run(output, "--accept-licence", recipe=small(tmp_path))
    assert done.exit_code == 0, done.output
    bundle = Bundle.open(output)
    for model, name in (("generator", GENERATOR), ("encoder", ENCODER)):
        source = bundle.manifest.sources[model]
        assert (source.name, source.revision) == (name, COMMIT)
    assert bundle.manifest.knowledge_base.concepts == {"diagnosis": 99, "procedure": len(descriptions()) - 100}
    # Licences, in plain words, and what parity found.
    assert f"{GENERATOR}: cc-by-nc-4.0. You may not use it, or what is made of it, commercially" in done.stderr
    assert re.search(r"parity ctranslate2/cpu/float32: passed, (\d+) of \1 checks kept their bounds", done.stdout)
    assert "generator.log_probs" in done.stdout
    # What broke was gone on with, and nothing else was fetched.
    assert hub.fetched(WEIGHTS) == [None, "bytes=20000-"]
    assert hub.fetched("README.md") == hub.fetched("generator/pytorch_model.bin") == []
    folder = output.with_name("published.sources")
    assert not [name for name in files_of(folder) if ".part" in name]
    origin = read_origin(folder / "generator")
    assert origin is not None and origin.licence == "cc-by-nc-4.0" and origin.revision == COMMIT
    recorded = {file.name: file.sha256 for file in origin.files}
    assert recorded[WEIGHTS] == sha256_of(folder / "generator" / WEIGHTS)
    table = read_origin(folder / "tables" / TABLES["diagnosis"])
    assert table is not None and table.licence == "CC BY-NC 4.0" and "Zotova" in table.attribution
    assert table.files[0].sha256 == sha256_of(folder / "tables" / TABLES["diagnosis"])
    # A second time nothing is fetched, and nothing is asked: neither the hub nor the user.
    hub.asked.clear()
    again = run(output, "--dry-run", "--overwrite", recipe=small(tmp_path))
    assert again.exit_code == 0, again.output
    assert hub.asked == []
    assert f"generator: {GENERATOR}, commit {COMMIT[:12]}" in again.stdout
    assert "  fetch" not in again.stdout and "licence" not in again.stdout


def test_a_dry_run_shows_the_plan_and_changes_nothing(
    hub: Hub, output: Path, tmp_path: Path, models: dict[str, Path]
) -> None:
    done = run(output, "--dry-run")
    assert done.exit_code == 0, done.output
    assert list(tmp_path.iterdir()) == []
    size = (models[GENERATOR] / WEIGHTS).stat().st_size
    address = f"{hub.address}/{GENERATOR}/resolve/{COMMIT}/{WEIGHTS}"
    assert re.search(
        rf"fetch +{size:,} bytes  {re.escape(address)}\n +to  .*sources/generator/{WEIGHTS}\n", done.stdout
    )
    table = hub.raw[f"{RAW}/{TABLES['procedure']}"]
    assert re.search(rf"fetch +{len(table):,} bytes  .*/{TABLES['procedure']}\n +to  .*sources/tables/", done.stdout)
    assert f"encoder: {ENCODER}, commit {COMMIT[:12]}\n  licence: apache-2.0." in done.stdout
    assert "CC BY-NC 4.0. You may not use it" in done.stdout
    assert re.search(r"needed, about: to fetch 0\.\d GB, the bundle .* memory", done.stdout)
    assert "README" not in done.stdout and "pytorch_model.bin" in done.stdout  # the encoder has no others


def test_sizes_that_the_list_leaves_out_are_asked_for(hub: Hub, output: Path, models: dict[str, Path]) -> None:
    hub.faults.sizeless = True
    done = run(output, "--dry-run")
    assert f"{(models[GENERATOR] / WEIGHTS).stat().st_size:,} bytes" in done.stdout


def test_licences_have_to_be_accepted_once(hub: Hub, output: Path, tmp_path: Path) -> None:
    done = run(output)
    assert done.exit_code == 1
    assert "cc-by-nc-4.0. You may not use it, or what is made of it, commercially" in done.stderr
    assert "accept them with --accept-licence" in done.stderr
    assert not output.with_name("published.sources").exists()
    hub.faults.statuses["config.json"] = 404  # far enough
    assert "--accept-licence" in done.stderr
    done = run(output, "--accept-licence")
    assert "HTTP 404" in done.stderr
    known = json.loads((tmp_path / "state" / "licences.json").read_text(encoding="utf-8"))
    assert f"{GENERATOR} cc-by-nc-4.0" in known
    hub.faults.statuses["config.json"] = 404
    done = run(output)
    assert "HTTP 404" in done.stderr and "commercially" not in done.stderr


@pytest.mark.parametrize(("answer", "said"), [("n\n", "were not accepted"), ("y\n", "HTTP 404")])
def test_a_terminal_is_asked(hub: Hub, output: Path, monkeypatch: pytest.MonkeyPatch, answer: str, said: str) -> None:
    monkeypatch.setattr("cielo.cli.accepting.on_a_terminal", lambda: True)
    hub.faults.statuses |= {"config.json": 404}
    arguments = ["convert", "medical-mt5-large", "--output", str(output)]
    done = CliRunner().invoke(main, arguments, input=answer)
    assert done.exit_code == 1
    assert "Do you accept them?" in done.stderr and said in done.stderr


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_model_says_how_to_get_in(hub: Hub, output: Path, status: int) -> None:
    hub.faults.statuses["config.json"] = status
    done = run(output, "--accept-licence")
    assert done.exit_code == 1
    assert f"does not hand out {GENERATOR} just so (HTTP {status})" in done.stderr
    assert f"accept its terms at {hub.address}/{GENERATOR} and log in with `hf auth login`" in done.stderr
    assert "Traceback" not in done.output


def test_a_wrong_size_is_told_and_leaves_nothing(hub: Hub, output: Path) -> None:
    hub.faults.offered[WEIGHTS] = 12_345
    done = run(output, "--accept-licence")
    assert done.exit_code == 1
    assert re.search(r"offers [\d,]+ bytes, where 12,345 were expected", done.stderr)
    assert WEIGHTS not in " ".join(files_of(output.with_name("published.sources")))
    assert not output.exists()


def test_other_bytes_than_promised_are_thrown_away(hub: Hub, output: Path) -> None:
    hub.faults.spoilt.add(WEIGHTS)
    done = run(output, "--accept-licence")
    assert done.exit_code == 1
    assert "got SHA-256" in done.stderr and "thrown away" in done.stderr
    assert WEIGHTS not in " ".join(files_of(output.with_name("published.sources")))


def test_a_broken_connection_keeps_what_came(hub: Hub, output: Path) -> None:
    hub.faults.cut[WEIGHTS], hub.faults.statuses["spiece.model"] = 20_000, 503
    hub.faults.always = True
    hub.faults.statuses.clear()
    hub.faults.cut[WEIGHTS] = 0
    done = run(output, "--accept-licence")
    assert done.exit_code == 1
    assert "try again later" in done.stderr
    before = files_of(output.with_name("published.sources"))
    assert "generator/model-00001-of-00003.safetensors" in before
    hub.faults.cut.clear()
    hub.asked.clear()
    hub.faults.statuses["model-00003-of-00003.safetensors"] = 404
    assert "HTTP 404" in run(output).stderr
    assert hub.fetched("model-00001-of-00003.safetensors") == []
    assert hub.fetched(WEIGHTS) == [None]


def test_a_model_that_is_not_there(hub: Hub, output: Path) -> None:
    hub.models = {ENCODER: hub.models[ENCODER]}
    done = run(output)
    assert done.exit_code == 1
    assert f"the hub has no model '{GENERATOR}' at revision 'main'" in done.stderr


def test_without_a_network_it_says_what_is_missing_and_where_to_put_it(
    output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("CIELO_RAW_BASE", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    done = run(output, "--dry-run")
    assert done.exit_code == 1
    folder = output.with_name("published.sources")
    for place in ("generator", "encoder", f"tables/{TABLES['diagnosis']}", f"tables/{TABLES['procedure']}"):
        assert str(folder / place) in done.stderr
    assert done.stdout.count("  missing") == 4
    assert "--generator" in done.stderr and "--table diagnosis=FILE" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_the_user_put_there_is_taken_without_a_network(
    models: dict[str, Path], output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    folder = tmp_path / "sources"
    (folder / "tables").mkdir(parents=True)
    (folder / "generator").symlink_to(models[GENERATOR])
    for file in TABLES.values():
        (folder / "tables" / file).write_text("codigo\tdescripcion\nA00\tuno\n", encoding="utf-8")
    given = ["--sources", str(folder), "--encoder", str(models[ENCODER]), "--dry-run"]
    done = run(output, *given)
    assert done.exit_code == 0, done.output
    assert f"encoder: {models[ENCODER]}" in done.stdout
    assert "  fetch" not in done.stdout
    done = run(output, *given, "--table", f"diagnosis={tmp_path / 'none.tsv'}")
    assert done.exit_code == 1 and "none.tsv" in done.stderr


def test_a_name_that_is_no_recipe_names_those_that_are(output: Path) -> None:
    done = run(output, recipe="medical-mt5")
    assert done.exit_code == 1
    assert "cielo knows medical-mt5-large, mini" in done.stderr


def test_a_file_wins_over_a_name(output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "medical-mt5-large").write_text("name = 3", encoding="utf-8")
    done = run(output)
    assert done.exit_code == 1 and "the recipe medical-mt5-large is not valid" in done.stderr


@pytest.mark.parametrize(("lack", "said"), [("memory", "of memory are available"), ("disk", "free, about")])
def test_too_little_room_is_told_before_anything_is_fetched(
    hub: Hub, output: Path, monkeypatch: pytest.MonkeyPatch, lack: str, said: str
) -> None:
    if lack == "memory":
        monkeypatch.setattr(room, "available_bytes", lambda: 1000)
    else:
        monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    done = run(output, "--accept-licence")
    assert done.exit_code == 1
    assert said in done.stderr and "--skip-checks" in done.stderr
    assert not output.with_name("published.sources").exists()
    hub.faults.statuses["config.json"] = 404
    assert "HTTP 404" in run(output, "--accept-licence", "--skip-checks").stderr


@pytest.mark.parametrize("device", ["cuda", "gpu", "cuda:x", "cpu:1"])
def test_a_device_that_is_not_there_is_told_at_once(
    recipe: Path, output: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("cielo.generation.ctranslate2.CTranslate2Backend.devices", lambda self: ("cpu",), raising=False)
    done = run(output, "--device", device, recipe=str(recipe))
    assert done.exit_code == 1
    assert f"device {device!r}" in done.stderr or f"device {device} " in done.stderr


def test_of_several_gpus_one_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from cielo.errors import DeviceError
    from cielo_convert.run import _see_only

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    _see_only(1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    _see_only(1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"
    with pytest.raises(DeviceError, match="allows 1"):
        _see_only(1)


def test_the_hub_s_own_cache_is_used(hub: Hub, output: Path, tmp_path: Path, models: dict[str, Path]) -> None:
    repository = tmp_path / "cache" / f"models--{ENCODER.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / COMMIT).symlink_to(models[ENCODER])
    done = run(output, "--dry-run")
    assert f"encoder: {ENCODER}, commit {COMMIT[:12]}\n  here" in done.stdout
    hub.models = {}
    monkey = run(output, "--dry-run")
    assert monkey.exit_code == 1  # the hub says that there is no such model


def test_missing_libraries_are_told_before_anything_is_fetched(
    hub: Hub, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "optimum" else object())
    done = run(output, "--accept-licence")
    assert done.exit_code == 1
    assert "conversion needs optimum; install it with: pip install 'cielo[convert]'" in done.stderr
    assert not output.with_name("published.sources").exists()


def test_an_interrupted_fetch_says_what_is_kept(hub: Hub, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cielo_convert.sources.write_origin", interrupt)
    done = run(output, "--accept-licence")
    assert done.exit_code == 130
    folder = output.with_name("published.sources")
    assert f"what was fetched stays in {folder}, and the same command goes on there" in done.stderr
    assert files_of(folder / "generator")
    assert not output.exists()

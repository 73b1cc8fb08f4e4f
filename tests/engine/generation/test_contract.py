"""Every backend and the toy keep the contract; and the toy, entered in the registry, links."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cielo
import pytest
from backend_contract import BackendContract, Subject
from cielo.bundle.layout import Bundle, default_bundle
from cielo.errors import BundleError, DeviceError, OptionError, UnverifiedError
from cielo.files import sha256_of
from cielo.generation.backends import BACKENDS, DEFAULT_BACKEND, backend
from cielo.link.linker import Linker
from cielo.options import LinkOptions
from cielo.records import Mention
from cielo.text.tokenizer import Tokenizer
from cielo_convert.generator import convert_generator
from toy_backend import MODEL, ToyBackend, constrained_toy, write_model

pytestmark = pytest.mark.usefixtures("with_one_backend")

CHECKPOINT = Path(__file__).parents[3] / "models" / "mini" / "checkpoint" / "generator"
TEXTS = (
    "Tos", "Tos ferina", "Tomografía computarizada (TC) de región abdominal", "Dolor de garganta",
    "Hipertensión arterial", "Fiebre", "Úlcera", "Fractura de fémur", "Fractura de rodilla",
    "Resonancia magnética de rodilla",
)  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    mini = Bundle.open(default_bundle())
    return Tokenizer(mini.generator_tokenizer, mini.manifest.generator.max_source_tokens)


class TestCTranslate2(BackendContract):
    @pytest.fixture(scope="class")
    def subject(self, tokenizer: Tokenizer) -> Subject:
        mini = Bundle.open(default_bundle())
        return Subject(backend("ctranslate2"), mini.generator_model("ctranslate2"), tokenizer, "float32", 1e-4)


class TestOnnx(BackendContract):
    @pytest.fixture(scope="class")
    def subject(self, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Subject:
        directory = tmp_path_factory.mktemp("onnx")
        convert_generator(CHECKPOINT, directory, {"onnx": "float32"})
        return Subject(backend("onnx"), directory / "onnx", tokenizer, "float32", 1e-4)


class TestOnnxInt8(BackendContract):
    @pytest.fixture(scope="class")
    def subject(self, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Subject:
        directory = tmp_path_factory.mktemp("onnx-int8")
        convert_generator(CHECKPOINT, directory, {"onnx": "int8"})
        # Each row has a scale of its own: what else is in its batch does not change it.
        return Subject(backend("onnx"), directory / "onnx", tokenizer, "int8", 1e-4)


class TestToy(BackendContract):
    @pytest.fixture(scope="class")
    def subject(self, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Subject:
        directory = tmp_path_factory.mktemp("toy")
        write_model(directory, TEXTS)
        return Subject(ToyBackend(), directory, tokenizer, "float32", 1e-6)


class TestToyThatSearchesInTries(TestToy):
    @pytest.fixture(scope="class")
    def subject(self, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Subject:
        directory = tmp_path_factory.mktemp("tries")
        write_model(directory, TEXTS)
        return Subject(constrained_toy(), directory, tokenizer, "float32", 1e-6)


class TestToyThatDoesLess(TestToy):
    @pytest.fixture(scope="class")
    def subject(self, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Subject:
        directory = tmp_path_factory.mktemp("less")
        write_model(directory, TEXTS)
        less = ToyBackend("less", decodings=("greedy",), gives_log_probs=False, compute_types=("float32",))
        return Subject(less, directory, tokenizer, "float32", 1e-6)


def test_an_unknown_backend_is_a_bundle_s_fault() -> None:
    with pytest.raises(BundleError, match="expected one of ctranslate2"):
        backend("surprise")


# They list libraries for their versions; nothing else may know which library runs a generator.
LISTS = {"machine.py", "cache/key.py"}


def test_nothing_outside_generation_names_the_library_of_a_backend() -> None:
    package = Path(cielo.__file__).parent
    files = {file.relative_to(package).as_posix(): file for file in package.rglob("*.py")}
    naming = {name for name, file in files.items() if "ctranslate2" in file.read_text(encoding="utf-8").lower()}
    assert "generation/ctranslate2.py" in naming
    assert {name for name in naming if not name.startswith("generation/")} == LISTS


def register(monkeypatch: pytest.MonkeyPatch, toy: ToyBackend) -> None:
    """Enter the toy under its name, and as the backend of a bundle that names none."""
    monkeypatch.setitem(BACKENDS, toy.name, toy)
    monkeypatch.setitem(BACKENDS, DEFAULT_BACKEND, toy)


class TestLinking:
    """The linker knows nothing of a backend but its name: whatever is registered answers."""

    @pytest.fixture
    def toy(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ToyBackend:
        with Linker.open(device="cpu", cache=False) as linker:
            descriptions = linker.knowledge_base.descriptions("diagnosis")[:150]
        write_model(tmp_path, descriptions)
        toy = ToyBackend(model=tmp_path)
        register(monkeypatch, toy)
        return toy

    def test_the_linker_links_by_it(self, toy: ToyBackend) -> None:
        with Linker.open(device="auto", compute_type="float32", cache=False) as linker:
            asked = linker.knowledge_base.descriptions("diagnosis")[:150:15]
            greedy = LinkOptions(decoding="greedy")
            found = linker.link([Mention(text) for text in asked])
            again = linker.link([Mention(text, f"Ingresa por {text}.") for text in asked], greedy)
            ranked = linker.link([Mention(text) for text in asked], LinkOptions(rerank=True))
        assert [link.generated for link in found] == asked
        assert [link.generated for link in again] == asked
        assert [link.codes for link in ranked] == [link.codes for link in found]
        assert {link.method for link in found} == {"exact"}
        assert {link.provenance.backend for link in found} == {DEFAULT_BACKEND}

    def test_its_compute_types_are_those_that_count(self, toy: ToyBackend) -> None:
        with pytest.raises(DeviceError, match="int8"):
            Linker.open(device="cpu", compute_type="int8", allow_unverified=True)

    def test_a_budget_of_memory_reaches_it(self, toy: ToyBackend) -> None:
        with Linker.open(device="cpu", compute_type="float32", cache=False, memory=10**9) as linker:
            links = linker.link([Mention("tos seca"), Mention("dolor")])
        assert len(links) == 2

    def test_what_it_does_not_do_is_refused_before_anything_is_generated(
        self, toy: ToyBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        less = replace(toy, decodings=("greedy",), gives_log_probs=False)
        register(monkeypatch, less)
        with Linker.open(device="cpu", compute_type="float32", decoding="greedy", cache=False) as linker:
            assert linker.link([Mention("tos")])
            with pytest.raises(OptionError, match="runs greedy"):
                linker.link([Mention("tos")], LinkOptions(decoding="probable"))
            with pytest.raises(OptionError, match="rerank"):
                linker.link([Mention("tos")], LinkOptions(rerank=True))


def test_a_bundle_that_names_another_backend_is_opened_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mini, bundle = default_bundle(), tmp_path / "bundle"
    shutil.copytree(mini, bundle)
    shutil.rmtree(bundle / "generator" / "ctranslate2")
    write_model(bundle / "generator" / "toy", TEXTS)
    model = bundle / "generator" / "toy" / MODEL
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    generator, files = manifest["generator"], manifest["files"]
    generator["backends"] = {"toy": generator["backends"]["ctranslate2"]}
    generator["backend"] = "toy"
    for name in [name for name in files if name.startswith("generator/ctranslate2/")]:
        del files[name]
    files[f"generator/toy/{MODEL}"] = {"size": model.stat().st_size, "sha256": sha256_of(model)}
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(BundleError, match="'toy'"):
        Linker.open(bundle, device="cpu", cache=False)
    monkeypatch.setitem(BACKENDS, "toy", ToyBackend())
    with pytest.raises(UnverifiedError, match="toy"):  # what was shown for another backend says nothing of this one
        Linker.open(bundle, device="cpu", cache=False)
    with Linker.open(bundle, device="cpu", cache=False, allow_unverified=True) as linker:
        (link,) = linker.link([Mention("Tos ferina")])
    assert (link.generated, link.provenance.backend) == ("Tos ferina", "toy")

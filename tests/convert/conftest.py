"""Checkpoints that several of the conversion's tests share: made once, never changed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# One thread each, here and in the processes that the conversion starts: the models are tiny.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from tests.checkpoints import make_encoder_checkpoint, make_generator_checkpoint, make_recipe

torch.set_num_threads(1)

# A shape whose outputs all end within some tokens: searches are fast.
SHORT = {"seed": 1, "layers": 3, "decoder_layers": 1, "d_model": 32, "d_kv": 8, "heads": 4}


@pytest.fixture(scope="session")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator with a head of its own, whose config says the contrary."""
    return make_generator_checkpoint(tmp_path_factory.mktemp("own"), config_flag=True, **SHORT)


@pytest.fixture(scope="session")
def tied_generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator whose head is its embeddings, whose config says the contrary."""
    return make_generator_checkpoint(tmp_path_factory.mktemp("tied"), tied=True, config_flag=False, **SHORT)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An XLM-R encoder."""
    return make_encoder_checkpoint(tmp_path_factory.mktemp("encoder"))


@pytest.fixture()
def recipe(tmp_path: Path, generator: Path, encoder: Path) -> Path:
    """A recipe of both."""
    return make_recipe(tmp_path / "recipe", generator, encoder, changes={"prompts": "12"})

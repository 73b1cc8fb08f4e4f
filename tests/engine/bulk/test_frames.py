"""Batches and frames for programs of Ray Data and Spark."""

from __future__ import annotations

import functools
import sys

import numpy as np
import pytest
from cielo import Linker, Mention
from cielo.bulk.frames import SPARK_COLUMNS, LinkBatches, LinkFrames
from cielo.errors import OptionError

OPENING = functools.partial(Linker.open, cache=False)


def test_a_batch_gets_the_linker_s_answers_and_each_row_its_own_error() -> None:
    linked = LinkBatches(OPENING)
    found = linked({"text": np.array(["HTA", "", "tos"], object), "n": np.array([1, 2, 3])})
    with OPENING() as linker:
        expected = [link.code for link in linker.link([Mention("HTA"), Mention("tos")])]
    assert [found["code"][0], found["code"][2]] == expected
    assert found["code"][1] is None and "empty" in found["error"][1]
    assert found["n"].tolist() == [1, 2, 3]
    with pytest.raises(OptionError, match="text"):
        linked({"n": np.array([1])})


def test_frames_keep_their_rows_and_their_missing_values() -> None:
    pandas = pytest.importorskip("pandas")
    frames = [
        pandas.DataFrame({"text": ["HTA", None], "sentence": [float("nan"), "x"]}),
        pandas.DataFrame({"text": []}),
    ]
    first, second = LinkFrames(OPENING)(frames)
    assert first["code"].tolist()[0] == "I10"
    assert first["error"].tolist()[0] is None and first["error"].tolist()[1]
    assert len(second) == 0
    strings = pandas.DataFrame({"text": ["HTA"], "sentence": pandas.array([None], "string")})
    assert next(LinkFrames(OPENING)([strings]))["code"].tolist() == ["I10"]


@pytest.mark.spark
def test_a_local_spark_session_gives_the_linker_s_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    sql = pytest.importorskip("pyspark.sql")
    pytest.importorskip("pandas")
    session = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        rows = session.createDataFrame(
            [(number, text) for number, text in enumerate(["HTA", "tos"] * 20)], "n int, text string"
        )
        found = rows.mapInPandas(LinkFrames(OPENING), f"n int, text string, {SPARK_COLUMNS}").orderBy("n").collect()
    finally:
        session.stop()
    with OPENING() as linker:
        expected = [link.code for link in linker.link([Mention("HTA"), Mention("tos")])]
    assert [row.code for row in found] == expected * 20


@pytest.mark.ray
def test_ray_data_maps_batches() -> None:
    data = pytest.importorskip("ray.data")
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        rows = data.from_items([{"text": text} for text in ["HTA", "tos"] * 20])
        found = rows.map_batches(LinkBatches, fn_constructor_args=(OPENING,), concurrency=1, batch_size=8).take_all()
    finally:
        ray.shutdown()
    assert {row["text"]: row["code"] for row in found}["HTA"] == "I10"
    assert len(found) == 40

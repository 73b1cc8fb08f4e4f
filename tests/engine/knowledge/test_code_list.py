from __future__ import annotations

from pathlib import Path

import pytest
from cielo.errors import TableError
from cielo.knowledge.code_list import read_codes


@pytest.mark.parametrize(
    ("content", "codes"),
    [
        (b"A00\nr50.9\n", {"A00", "r50.9"}),
        (b"\xef\xbb\xbfA00\r\n\r\n  R50 Fiebre\tx\n", {"A00", "R50"}),
        (b"0210\n0210\nNA", {"0210", "NA"}),
        (b"A00 c\xf3lera", {"A00"}),
        ("A00\n".encode("utf-16"), {"A00"}),
        ("J18.9;Neumonía\nR05\n".encode(), {"J18.9", "R05"}),
        ("J18.9;Neumonía, aguda\nR05;Tos, seca\n".encode("cp1252"), {"J18.9", "R05"}),
        ("Código;Descripción\nJ18.9;Neumonía\nR05;Tos\n".encode(), {"J18.9", "R05"}),
        ("Descripción\tCódigo\nNeumonía\tJ18.9\n".encode(), {"J18.9"}),
        (b'"A00","x"\n"A01","y"\n', {"A00", "A01"}),
        (b"codigo\nA00\n", {"A00"}),
    ],
)
@pytest.mark.parametrize("name", ["codes.txt", "codes"])
def test_codes_are_the_column_of_codes_or_the_first_words(
    tmp_path: Path, name: str, content: bytes, codes: set[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    assert read_codes(tmp_path / name).codes == codes


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be read"), (b"", "names no code"), (b" \n---\n", "names no code")]
)
def test_a_file_without_codes_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "codes.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TableError, match=message):
        read_codes(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="cannot be read"):
        read_codes(tmp_path)


def test_lines_without_a_known_code_are_reported_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "codes.txt").write_text("J18.9\n---\nR50.9\nNO-EXISTE\nZ99.999\n", encoding="utf-8")
    found = read_codes(tmp_path / "codes.txt")
    assert found.codes == {"J18.9", "R50.9", "NO-EXISTE", "Z99.999"}
    problems = found.problems(lambda code: code in ("J18.9", "R50.9"))
    assert [row.line for row in problems] == [2, 4, 5]
    assert "names no code" in problems[0].reason
    assert all("does not know the code" in row.reason for row in problems[1:])
    assert [row.line for row in found.problems(lambda _: True)] == [2]

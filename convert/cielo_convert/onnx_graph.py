"""ONNX graphs written node by node, their large constants in a file beside them that can be mapped.

Operators are ONNX's own (opset 18) and those that ONNX Runtime adds in ``com.microsoft`` (its
`docs/ContribOperators.md`): `MultiHeadAttention`, `MatMulIntegerToFloat`, `FastGelu`, and the two of T5's norm,
`SimplifiedLayerNormalization` and `SkipSimplifiedLayerNormalization`. Tried with ONNX Runtime 1.20.1 and 1.32.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from cielo_convert.levels import LEVELS, byte_levels

OPSET = 18
_IR_VERSION = 9
_INLINE = 1024  # bytes up to which a constant stands in the graph itself
_PAGE = 4096  # constants begin on a page, so that each can be mapped
_ZERO_POINT = 128
_SMALLEST = 1e-30  # of a row's largest magnitude, so that a row of zeros can be divided by it

ComputeType = Literal["float32", "int8"]
Size = int | str


class Graph:
    """A graph under construction. `close` ends the file of constants; `save` writes the graph."""

    def __init__(self, path: Path, compute_type: ComputeType) -> None:
        """Begin the graph of the file `path`, whose constants go to the same name with ``.data``."""
        self._path = path
        self._data_name = path.with_suffix(".data").name
        self._data = path.with_suffix(".data").open("wb")
        self._compute_type = compute_type
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[TensorProto] = []
        self._small: dict[bytes, str] = {}
        self._quantized: dict[str, tuple[str, str]] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def node_name(self) -> str:
        """Return a name that no other node has."""
        self._count += 1
        return f"n{self._count}"

    def input(self, name: str, kind: int, shape: Sequence[Size]) -> str:
        """Declare an input of an element type (of `onnx.TensorProto`) and a shape."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def output(self, name: str, kind: int, shape: Sequence[Size]) -> None:
        """Declare an output; a node has its name among its outputs."""
        self._outputs.append(helper.make_tensor_value_info(name, kind, list(shape)))

    def node(self, operator: str, inputs: Sequence[str], output: str | None = None, **attributes: object) -> str:
        """Add a node of one output, and return the output's name."""
        return self.nodes(operator, inputs, [output or self.node_name()], **attributes)[0]

    def nodes(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: object) -> list[str]:
        """Add a node of several outputs; an empty name is one that is not wanted."""
        domain = "com.microsoft" if operator in _MICROSOFT else ""
        self._nodes.append(helper.make_node(operator, list(inputs), list(outputs), domain=domain, **attributes))
        return list(outputs)

    def constant(self, array: NDArray[np.generic]) -> str:
        """Add a constant, and return its name; equal small ones are one."""
        array = np.ascontiguousarray(array)
        if array.nbytes > _INLINE:
            return self._external(array)
        key = str((array.dtype, array.shape)).encode() + array.tobytes()
        if key not in self._small:
            self._small[key] = self.node_name()
            self._constants.append(numpy_helper.from_array(array, self._small[key]))
        return self._small[key]

    def _external(self, array: NDArray[np.generic]) -> str:
        self._data.write(b"\0" * (-self._data.tell() % _PAGE))
        tensor = TensorProto(
            name=self.node_name(),
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            dims=array.shape,
            data_location=TensorProto.EXTERNAL,
        )
        place = {"location": self._data_name, "offset": self._data.tell(), "length": array.nbytes}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        self._data.write(array.data)
        self._constants.append(tensor)
        return str(tensor.name)

    def integers(self, *values: int) -> str:
        """Add int64 numbers as a constant, and return its name."""
        return self.constant(np.array(values, dtype=np.int64))

    def product(self, rows: str, weights: NDArray[np.float32]) -> str:
        """Multiply rows, float32 [..., inputs], by weights as PyTorch holds them, [outputs, inputs].

        In int8 each row of the input has a scale of its own, by its largest magnitude, and so has each output: what a
        row gives depends on no other row. The rows' zero point is fixed, since activations lie around zero.
        """
        if self._compute_type == "float32":
            return self.node("MatMul", [rows, self.constant(weights.T)])
        quantized, largest = self._quantize(rows)
        levels, scales = byte_levels(weights)
        inputs = [quantized, self.constant(levels.T), self._scale(), self.constant(scales), self._zero_point()]
        return self.node("Mul", [self.node("MatMulIntegerToFloat", inputs), largest])

    def _quantize(self, rows: str) -> tuple[str, str]:
        """Return rows as uint8 in units of a 127th of their largest magnitude, and those magnitudes; once for each."""
        if rows not in self._quantized:
            magnitude = self.node("ReduceMax", [self.node("Abs", [rows]), self.integers(-1)], keepdims=1)
            largest = self.node("Max", [magnitude, self.constant(np.array(_SMALLEST, dtype=np.float32))])
            unit = self.node("Div", [rows, largest])
            levels = self.node("QuantizeLinear", [unit, self._scale(), self._zero_point()])
            self._quantized[rows] = levels, largest
        return self._quantized[rows]

    def _scale(self) -> str:
        return self.constant(np.array(1 / LEVELS, dtype=np.float32))

    def _zero_point(self) -> str:
        return self.constant(np.array(_ZERO_POINT, dtype=np.uint8))

    def save(self) -> None:
        """Write the graph."""
        graph = helper.make_graph(self._nodes, self._path.stem, self._inputs, self._outputs, self._constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="cielo")
        self._path.write_bytes(model.SerializeToString())

    def close(self) -> None:
        """End the file of constants."""
        self._data.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


_MICROSOFT = {"MultiHeadAttention", "MatMulIntegerToFloat", "FastGelu", "SkipSimplifiedLayerNormalization"}

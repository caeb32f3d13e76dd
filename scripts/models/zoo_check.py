"""Compares the host reference with ONNX Runtime on quantized networks, operator by operator and as a whole.

    build/venv/bin/python scripts/models/zoo_check.py --tool build/bin/octile_reference_run [--input FILE.npy] MODEL.onnx...

Operators: every QuantizeLinear is recomputed by ONNX Runtime, under the golden settings of docs/numerics.md, from the
codes that the reference has for the quantizations before it; likewise every float output. Where ONNX Runtime runs integer kernels all
codes must be equal; elsewhere they may differ by 1, floats by 1e-4 of the largest. Whole: both run the image through the network;
where ONNX Runtime runs integer kernels throughout, the outputs must be equal bit for bit.

Without --input, MODEL's NAME.input.npy beside it is used. Exit code 1 if a rule is broken.
"""

import argparse
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/runtime_reference"))
import compare_with_ort as ort_side  # noqa: E402

CODES = (np.uint8, np.int8)
FLOAT_BOUND = 1e-4  # docs/numerics.md: of the tensor's largest magnitude


class Graph:
    """A quantized model with the reference's tensors of one run."""

    def __init__(self, model, feeds, tensors, outputs):
        self.model, self.feeds, self.tensors, self.outputs = model, feeds, tensors, outputs
        self.nodes = list(model.graph.node)
        self.constants = {t.name: t for t in model.graph.initializer}
        self.producer = {o: i for i, n in enumerate(self.nodes) for o in n.output}

    def codes(self, name):
        """The reference's codes for the output `name` of a QuantizeLinear, or None.

        Where an operator only moves codes, the reference knows them by the name of the operator's output.
        """
        node = self.nodes[self.producer[name]]
        for known in (name, node.input[0]):
            value = self.tensors.get(known)
            if value is not None and value.dtype in CODES:
                return value
        return None

    def unit(self, target):
        """Nodes that compute `target` from codes of the reference or graph inputs, in order, and those codes' names."""
        indices, sources, work = set(), set(), [self.producer[target]]
        while work:
            index = work.pop()
            if index in indices:
                continue
            indices.add(index)
            for name in self.nodes[index].input:
                up = self.producer.get(name)
                if up is None:
                    continue
                if self.nodes[up].op_type == "QuantizeLinear" and name != target and self.codes(name) is not None:
                    sources.add(name)
                else:
                    work.append(up)
        return [self.nodes[i] for i in sorted(indices)], sorted(sources)

    def recompute(self, target, dtype):
        """(ONNX Runtime's value of `target`, operators of the unit, operators ONNX Runtime ran) from the reference's codes."""
        nodes, sources = self.unit(target)
        feeds = {name: self.codes(name) for name in sources}
        used = {i for n in nodes for i in n.input}
        feeds.update({name: value for name, value in self.feeds.items() if name in used})
        inputs = [onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
                  for n, v in feeds.items()]
        output = onnx.helper.make_tensor_value_info(target, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), None)
        graph = onnx.helper.make_graph(nodes, "unit", inputs, [output], [self.constants[n] for n in used if n in self.constants])
        unit = onnx.helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
        value, ran = run_optimized(unit, feeds)
        return value[0], [n.op_type for n in nodes if n.op_type not in ("QuantizeLinear", "DequantizeLinear")], ran


def run_optimized(model, feeds):
    """ONNX Runtime's outputs under the golden settings, and the nodes of the graph that it really ran."""
    with tempfile.TemporaryDirectory() as work:
        path = str(Path(work) / "optimized.onnx")
        session = ort_side.session(model, path)
        optimized = onnx.load(path).graph
    return session.run([o.name for o in model.graph.output], feeds), list(optimized.node)


def float_operators(nodes, outputs):
    """Types of the operators that compute with float values: fed by a DequantizeLinear whose result is no graph output."""
    floats = {o for n in nodes if n.op_type == "DequantizeLinear" for o in n.output}
    found = []
    for node in nodes:  # in order: a float operator's results are float, too
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") and floats & set(node.input):
            found.append(node.op_type)
            floats |= set(node.output) - outputs
    return found


class Row:
    """What was found for one kind of operator."""

    def __init__(self):
        self.units = self.values = self.differ = 0
        self.worst = 0.0

    def add(self, ours, theirs):
        self.units += 1
        self.values += ours.size
        self.differ += int(np.count_nonzero(ours != theirs))
        self.worst = max(self.worst, ort_side.difference(ours, theirs, "value"))


def check_operators(graph, label):
    """Prints the table of one network; returns the number of broken rules."""
    rows, failures = defaultdict(Row), 0
    for node in graph.nodes:
        if node.op_type != "QuantizeLinear" or node.input[0] in graph.constants:
            continue
        target, ours = node.output[0], graph.codes(node.output[0])
        if ours is None:
            # The reference merged this quantization into the operators behind it; their units then contain it.
            continue
        theirs, operators, ran = graph.recompute(target, ours.dtype)
        integer = not float_operators(ran, set())
        row = rows[" ".join(operators) or "requantize", "integer" if integer else "fp32"]
        row.add(ours, theirs)
        worst = ort_side.difference(ours, theirs, target)
        if worst > (0 if integer else 1):
            print(f"{label}: {target} ({' '.join(operators)}) differs by {worst}")
            failures += 1
    for output in graph.model.graph.output:
        theirs, operators, ran = graph.recompute(output.name, np.float32)
        ours, integer = graph.outputs[output.name], not float_operators(ran, {output.name})
        rows[" ".join(operators) or "dequantize", "integer" if integer else "fp32"].add(ours, theirs)
        worst = ort_side.difference(ours, theirs, output.name)
        if worst > (0 if integer else FLOAT_BOUND):
            print(f"{label}: output {output.name} differs by {worst:.3g} of its largest value")
            failures += 1
    print(f"| {label}: operators | ONNX Runtime | units | values | differing | largest |\n|---|---|---|---|---|---|")
    for (operators, kind), row in sorted(rows.items(), key=lambda r: -r[1].values):
        print(f"| {operators} | {kind} | {row.units} | {row.values} | {row.differ} | {row.worst:.3g} |")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", required=True, help="octile_reference_run, built with the tests")
    parser.add_argument("--input", type=Path, help="image, default: NAME.input.npy beside the model")
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    options = parser.parse_args()
    failures = 0
    for path in options.models:
        label = path.name.removesuffix(".onnx")
        model = onnx.load(path)
        image = options.input or path.with_name(f"{path.name.split('.')[0]}.input.npy")
        if not image.exists():
            sys.exit(f"zoo_check: {image} is missing; scripts/zoo writes it, or name one with --input")
        feeds = {model.graph.input[0].name: np.load(image)}
        with tempfile.TemporaryDirectory() as work:
            outputs, tensors, _ = ort_side.run_reference(options.tool, str(path), feeds, work)
        failures += check_operators(Graph(model, feeds, tensors, outputs), label)
        results, ran = run_optimized(model, feeds)
        floats = float_operators(ran, {o.name for o in model.graph.output})
        for output, theirs in zip(model.graph.output, results):
            ours = outputs[output.name]
            differ = int(np.count_nonzero(ours != theirs))
            verdict = "integer kernels throughout" if not floats else f"{len(floats)} operators in fp32 ({', '.join(sorted(set(floats)))})"
            print(f"{label}: whole output {output.name}: {differ} of {ours.size} differ, largest "
                  f"{ort_side.difference(ours, theirs, output.name):.3g} of the largest value; {verdict}")
            failures += differ != 0 and not floats
        print(flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

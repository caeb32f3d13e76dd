"""Small ONNX models written node by node, and their comparison with ONNX Runtime or with an expected refusal."""
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "runtime_reference"))
import compare_with_ort as ort_side  # noqa: E402

TOOL = None  # octile_reference_run
FLOAT, U8, S8, S64 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT8, TensorProto.INT64


class Model:
    """Collects nodes and initializers; every method returns the name of a value."""

    def __init__(self, opset=17, seed=1):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.initializers, self.inputs, self.outputs, self.functions = [], [], [], [], []
        self.opsets = {"": opset}
        self.count = 0

    def name(self, prefix):
        self.count += 1
        return f"{prefix}_{self.count}"

    def const(self, array, name=None):
        name = name or self.name("const")
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def input(self, shape, dtype=FLOAT, name=None):
        name = name or ("x" if not self.inputs else self.name("x"))
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def node(self, op, inputs, outputs=1, domain="", name=None, **attributes):
        results = [self.name(op.lower()) for _ in range(outputs)] if isinstance(outputs, int) else outputs
        self.nodes.append(helper.make_node(op, inputs, results, name=self.name(op) if name is None else name,
                                           domain=domain, **attributes))
        return results[0] if len(results) == 1 else results

    def output(self, name, dtype=None, shape=None):
        if dtype is None:
            self.outputs.append(helper.make_empty_tensor_value_info(name))
        else:
            self.outputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    # Quantization.
    def params(self, scale, zero, dtype=np.uint8):
        return [self.const(np.float32(scale)), self.const(dtype(zero))]

    def q(self, x, scale, zero, dtype=np.uint8, **attributes):
        return self.node("QuantizeLinear", [x] + self.params(scale, zero, dtype), **attributes)

    def dq(self, x, scale, zero, dtype=np.uint8, **attributes):
        return self.node("DequantizeLinear", [x] + self.params(scale, zero, dtype), **attributes)

    def qdq(self, x, scale, zero, dtype=np.uint8):
        return self.dq(self.q(x, scale, zero, dtype), scale, zero, dtype)

    def weight(self, shape, axis=0, per_channel=True, dtype=np.int8):
        """A dequantized random weight; returns (value, scales)."""
        low, high = (-127, 128) if dtype == np.int8 else (0, 256)
        codes = self.rng.integers(low, high, shape).astype(dtype)
        count = shape[axis] if per_channel else 1
        scales = self.rng.uniform(0.002, 0.01, count).astype(np.float32)
        zeros = np.zeros(count, dtype) if dtype == np.int8 else np.full(count, 128, dtype)
        if per_channel:
            value = self.node("DequantizeLinear", [self.const(codes), self.const(scales), self.const(zeros)], axis=axis)
        else:
            value = self.node("DequantizeLinear", [self.const(codes), self.const(scales[0]), self.const(zeros[0])])
        return value, scales

    def bias(self, count, sx, scales):
        codes = self.rng.integers(-2000, 2000, count).astype(np.int32)
        s = (np.float32(sx) * np.broadcast_to(scales, (count,))).astype(np.float32)
        return self.node("DequantizeLinear", [self.const(codes), self.const(s), self.const(np.zeros(count, np.int32))], axis=0)

    def conv(self, x, sx, cin, cout, kernel, bias=True, per_channel=True, group=1, dtype=np.int8, **attributes):
        w, scales = self.weight([cout, cin // group, *kernel], 0, per_channel, dtype)
        inputs = [x, w] + ([self.bias(cout, sx, scales)] if bias else [])
        return self.node("Conv", inputs, group=group, **attributes)

    def proto(self):
        graph = helper.make_graph(self.nodes, "g", self.inputs, self.outputs, self.initializers)
        opsets = [helper.make_opsetid(d, v) for d, v in self.opsets.items()]
        return helper.make_model(graph, opset_imports=opsets, functions=self.functions, ir_version=9)


class Result:
    def __init__(self, outputs, tensors, steps, notes):
        self.outputs, self.tensors, self.steps, self.notes = outputs, tensors, steps, notes

    def ops(self):
        return [s[2] for s in self.steps]

    def host(self):
        return [s[2] for s in self.steps if s[3] == "host"]


def save(model, folder):
    path = os.path.join(folder, "model.onnx")
    with open(path, "wb") as file:
        file.write(model.SerializeToString())
    return path


def random_feeds(model, rng, shapes=None):
    feeds = ort_side.random_inputs(model, rng)
    for name, shape in (shapes or {}).items():
        feeds[name] = rng.uniform(-2, 2, shape).astype(feeds[name].dtype) if name in feeds else None
    return feeds


def run(model, feeds, arguments=()):
    """The reference's results for a model that must be accepted."""
    with tempfile.TemporaryDirectory() as work:
        path = save(model, work)
        outputs, tensors, steps = ort_side.run_reference(TOOL, path, feeds, work, arguments)
        with open(os.path.join(work, "index.txt"), encoding="utf-8") as index:
            notes = [line.rstrip("\n").split("\t", 1)[1] for line in index if line.startswith("note\t")]
    return Result(outputs, tensors, steps, notes)


def equal(model, feeds=None, arguments=(), tolerance=0, runs=2, shapes=None, kernels=()):
    """Every output equals ONNX Runtime's; codes may differ by `tolerance` LSB, floats by `tolerance` * 1e-4 of the largest.

    kernels: operators that ONNX Runtime's optimized graph must contain, so that its integer kernels are what is compared with.
    """
    proto = model.proto() if isinstance(model, Model) else model
    if kernels:
        with tempfile.TemporaryDirectory() as work:
            path = os.path.join(work, "optimized.onnx")
            ort_side.session(proto, path)
            ran = {n.op_type for n in onnx.load(path).graph.node}
        check(set(kernels) <= ran, f"ONNX Runtime runs {sorted(ran)}, not {sorted(kernels)}")
    session = ort_side.session(proto)
    result = None
    for seed in range(runs):
        values = feeds or random_feeds(proto, np.random.default_rng(seed), shapes)
        result = run(proto, values, arguments)
        names = [o.name for o in proto.graph.output]
        for name, theirs in zip(names, session.run(names, values)):
            d = ort_side.difference(result.outputs[name], theirs, name)
            limit = tolerance * 1e-4 if theirs.dtype == np.float32 else tolerance
            if d > limit:
                raise AssertionError(f"output '{name}' differs from ONNX Runtime by {d} (limit {limit})")
    return result


def refused(model, *needles, arguments=()):
    """The import fails with exit code 3 and a message that contains every needle."""
    proto = model.proto() if isinstance(model, Model) else model
    with tempfile.TemporaryDirectory() as work:
        path = save(proto, work)
        done = subprocess.run([TOOL, path, work, *arguments], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 3:
        raise AssertionError(f"exit code {done.returncode} instead of 3: {done.stderr.strip() or 'accepted'}")
    for needle in needles:
        if needle not in done.stderr:
            raise AssertionError(f"'{needle}' is not in: {done.stderr.strip()}")


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def main(cases):
    """harness.main({name: function}): runs the named cases (all without a name)."""
    global TOOL  # pylint: disable=global-statement
    arguments = sys.argv[1:]
    if len(arguments) < 2 or arguments[0] != "--tool":
        sys.exit(f"usage: {sys.argv[0]} --tool PATH [--list | CASE...]")
    TOOL = arguments[1]
    if arguments[2:3] == ["--list"]:
        known = set(arguments[3:])
        if known != set(cases):
            sys.exit(f"registered and existing cases differ: {sorted(known ^ set(cases))}")
        return
    failed = 0
    for name in arguments[2:] or cases:
        if name not in cases:
            sys.exit(f"no case '{name}'")
        try:
            cases[name]()
            print(f"{name}: ok")
        except AssertionError as error:
            failed += 1
            print(f"{name}: {error}")
        except SystemExit as error:
            failed += 1
            print(f"{name}: {error}")
    sys.exit(1 if failed else 0)

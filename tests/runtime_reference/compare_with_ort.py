#!/usr/bin/env python3
"""Compares the host reference with ONNX Runtime under the golden settings of docs/numerics.md, section 8.

    compare_with_ort.py --tool PATH MODEL [--seed N] [--runs N] [--mode integer|operator] [--work DIR]

integer: ONNX Runtime runs the model with its integer kernels; every output must be equal bit for bit (float outputs too).
operator: each QuantizeLinear of the model is recomputed by ONNX Runtime from the reference's own codes, one operator at a
time; codes may differ by at most 1 where ONNX Runtime has no integer kernel for the operator.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

TYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 7: np.int64}


def session(model, optimized=None):
    """A session under the golden settings; `optimized` names a file for the graph that ONNX Runtime really runs."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Without VNNI the AVX2 kernels saturate pairs of u8*s8 products; u8 weights do not. They exclude s8 activations.
    vnni = "vnni" in open("/proc/cpuinfo", encoding="ascii", errors="replace").read()
    options.add_session_config_entry("session.qdqisint8allowed" if vnni else "session.x64quantprecision", "1")
    options.add_session_config_entry("session.disable_double_qdq_remover", "1")
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if optimized:
        options.optimized_model_filepath = optimized
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def input_shapes(model):
    constants = {t.name for t in model.graph.initializer}
    shapes = {}
    for value in model.graph.input:
        if value.name in constants:
            continue
        tensor = value.type.tensor_type
        shapes[value.name] = (TYPES[tensor.elem_type], [d.dim_value or 1 for d in tensor.shape.dim])
    return shapes


def random_inputs(model, rng):
    """Floats cover the whole range of the quantization that reads them and 5 % beyond it."""
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            for a in node.attribute:
                if a.name == "value":
                    constants[node.output[0]] = numpy_helper.to_array(a.t)
    feeds = {}
    for name, (dtype, shape) in input_shapes(model).items():
        if dtype == np.float32:
            lo, hi = -2.0, 2.0
            for node in model.graph.node:
                if node.op_type == "QuantizeLinear" and node.input[0] == name:
                    scale = constants[node.input[1]].ravel()[0].item()
                    zero = constants[node.input[2]].ravel()[0] if len(node.input) > 2 and node.input[2] else np.uint8(0)
                    info = np.iinfo(zero.dtype)
                    lo, hi = scale * (info.min - zero.item()), scale * (info.max - zero.item())
            margin = 0.05 * (hi - lo)
            feeds[name] = rng.uniform(lo - margin, hi + margin, shape).astype(np.float32)
        elif dtype == np.int64:
            feeds[name] = rng.integers(0, 2, shape).astype(dtype)
        else:
            info = np.iinfo(dtype)
            feeds[name] = rng.integers(info.min, info.max + 1, shape).astype(dtype)
    return feeds


def run_reference(tool, path, feeds, work, more=()):
    arguments = [tool, path, work, *more]
    for i, (name, value) in enumerate(feeds.items()):
        file = os.path.join(work, f"in_{i}.npy")
        np.save(file, value)
        arguments.append(f"{name}={file}")
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{path}: {done.stderr.strip()}")
    outputs, tensors, steps = {}, {}, []
    with open(os.path.join(work, "index.txt"), encoding="utf-8") as index:
        for line in index:
            kind, *fields = line.rstrip("\n").split("\t")
            if kind == "output":
                outputs[fields[1]] = np.load(os.path.join(work, f"output_{fields[0]}.npy"))
            elif kind == "step":
                tensors[fields[4]] = np.load(os.path.join(work, f"step_{fields[0]}.npy"))
                steps.append(fields)
    return outputs, tensors, steps


def difference(ours, theirs, what):
    """Largest difference; codes in LSB, floats relative to the largest magnitude."""
    if ours.dtype != theirs.dtype or ours.shape != theirs.shape:
        raise SystemExit(f"{what}: {ours.dtype}{ours.shape} is not {theirs.dtype}{theirs.shape}")
    if ours.dtype == np.float32:
        if np.array_equal(ours, theirs):
            return 0.0
        return float(np.max(np.abs(ours.astype(np.float64) - theirs)) / max(1e-30, float(np.max(np.abs(theirs)))))
    return int(np.max(np.abs(ours.astype(np.int64) - theirs.astype(np.int64)))) if ours.size else 0


def with_outputs(model, names):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {o.name for o in copy.graph.output}
    for name in names:
        if name not in known:
            copy.graph.output.add().name = name
    return copy


def unit_of(nodes, q):
    """Indices of the nodes between QuantizeLinear number q and the codes it is computed from, and those codes' names."""
    producer = {o: i for i, n in enumerate(nodes) for o in n.output}
    unit, sources, work = set(), set(), [q]
    while work:
        index = work.pop()
        if index in unit:
            continue
        unit.add(index)
        for name in nodes[index].input:
            up = producer.get(name)
            if up is None:
                continue
            if nodes[up].op_type == "QuantizeLinear" and up != q:
                sources.add(name)
            else:
                work.append(up)
    return sorted(unit), sources


def compare_operators(model, reference, feeds, tolerance_report):
    """Each quantization unit by itself, fed the reference's codes."""
    constants = {t.name: t for t in model.graph.initializer}
    graph_nodes = list(model.graph.node)
    types = {name: dtype for name, (dtype, _) in input_shapes(model).items()}
    counts = {0: 0, 1: 0}
    worst = units = 0
    for position, q in enumerate(graph_nodes):
        if q.op_type != "QuantizeLinear" or q.output[0] not in reference:
            continue
        indices, sources = unit_of(graph_nodes, position)
        nodes = [graph_nodes[i] for i in indices]
        inputs, unit_feeds = [], {}
        for name in sorted(sources):
            if name not in reference:
                break
            value = reference[name]
            unit_feeds[name] = value
            kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
            inputs.append(onnx.helper.make_tensor_value_info(name, kind, value.shape))
        else:
            used = {i for n in nodes for i in n.input}
            for name, value in feeds.items():
                if name in used:
                    unit_feeds[name] = value
                    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(types[name]))
                    inputs.append(onnx.helper.make_tensor_value_info(name, kind, value.shape))
            code = onnx.TensorProto.UINT8 if reference[q.output[0]].dtype == np.uint8 else onnx.TensorProto.INT8
            graph = onnx.helper.make_graph(
                nodes, "unit", inputs, [onnx.helper.make_tensor_value_info(q.output[0], code, None)],
                [constants[n] for n in used if n in constants])
            unit = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
            theirs = session(unit).run(None, unit_feeds)[0]
            ours = reference[q.output[0]]
            units += 1
            d = np.abs(ours.astype(np.int64) - theirs.astype(np.int64))
            worst = max(worst, int(d.max()))
            counts[0] += int((d == 0).sum())
            counts[1] += int((d == 1).sum())
            if d.max() > 0:
                tolerance_report.append((q.output[0], [n.op_type for n in nodes if n.op_type not in
                                                       ("QuantizeLinear", "DequantizeLinear")], int((d > 0).sum()), int(d.max())))
    return worst, counts, units


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--mode", choices=["integer", "operator"], default="integer")
    parser.add_argument("models", nargs="+")
    options = parser.parse_args()
    failures = 0
    for path in options.models:
        model = onnx.load(path)
        rng = np.random.default_rng(options.seed)
        runner = session(model)
        for run in range(options.runs):
            feeds = random_inputs(model, rng)
            with tempfile.TemporaryDirectory() as work:
                outputs, tensors, steps = run_reference(options.tool, path, feeds, work)
            label = f"{os.path.basename(path)} run {run} (seed {options.seed})"
            if options.mode == "integer":
                names = [o.name for o in model.graph.output]
                for name, theirs in zip(names, runner.run(names, feeds)):
                    d = difference(outputs[name], theirs, f"{label} output {name}")
                    print(f"{label}: output {name} {theirs.shape} difference {d}")
                    failures += d != 0
            else:
                report = []
                worst, counts, units = compare_operators(model, tensors, feeds, report)
                print(f"{label}: {units} units, {sum(counts.values())} codes, {counts[1]} differ by 1, worst {worst}")
                for row in report:
                    print("   ", *row)
                failures += worst > 1
                failures += sum(counts.values()) == 0
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

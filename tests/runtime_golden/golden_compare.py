"""Exports the golden model of a network, runs it in ONNX Runtime and compares it step by step with the host reference."""
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "runtime_reference"))
import compare_with_ort as ort_side  # noqa: E402


def export(octile, model, golden, arguments=()):
    """Writes the golden model with every step's result as an output; returns it. Raises with the program's message."""
    command = [octile, "export-golden", model, "-o", golden, "--all-tensors", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
    onnx.checker.check_model(golden, full_check=True)
    return onnx.load(golden)


def session(golden, optimized=True):
    """ONNX Runtime on a golden model, with all optimizations (its default) or none."""
    options = ort.SessionOptions()
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    options.log_severity_level = 3
    data = golden if isinstance(golden, (str, bytes)) else golden.SerializeToString()
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run(runner, feeds):
    names = [o.name for o in runner.get_outputs()]
    return dict(zip(names, runner.run(names, feeds)))


def differing(ours, theirs):
    """How many elements differ (-1: type or shape). Bits decide, but -0 equals 0 and any NaN any other."""
    if ours.dtype != theirs.dtype or ours.shape != theirs.shape:
        return -1
    if ours.dtype.kind == "f":
        return int(np.sum((ours != theirs) & ~(np.isnan(ours) & np.isnan(theirs))))
    return int(np.sum(ours != theirs))


def first_difference(steps, tensors, results):
    """The first step, in order of execution, whose result differs: a sentence, or None. Every step must be there."""
    for _, name, op, _, tensor in steps:
        if tensor not in results:
            raise AssertionError(f"step '{name}': the golden model has no output '{tensor}'")
        count = differing(tensors[tensor], results[tensor])
        if count:
            ours, theirs = tensors[tensor], results[tensor]
            if count < 0:
                return f"step '{name}' ({op}): {ours.dtype}{list(ours.shape)} is not {theirs.dtype}{list(theirs.shape)}"
            at = tuple(int(i[0]) for i in np.nonzero(ours != theirs))
            return f"step '{name}' ({op}): {count} of {ours.size} differ, first at {list(at)}: {ours[at]}, ONNX Runtime {theirs[at]}"
    return None


def compare(octile, tool, model, folder, feeds, arguments=(), golden=None):
    """All steps and outputs of one run under both optimization levels; returns (first difference or None, values compared)."""
    if golden is None:
        golden = export(octile, model, os.path.join(folder, "golden.onnx"), arguments)
    outputs, tensors, steps = ort_side.run_reference(tool, model, feeds, folder, arguments)
    compared = sum(t.size for t in tensors.values())
    for optimized in (True, False):
        results = run(session(golden, optimized), feeds)
        found = first_difference(steps, tensors, results)
        for name, value in outputs.items():
            if found is None and differing(value, results[name]):
                found = f"output '{name}' differs"
        if found:
            return f"{found} ({'all' if optimized else 'no'} optimizations)", compared
    return None, compared

"""Golden models of whole networks: ONNX Runtime's results equal those of the reference and of the device, bit for bit at every step.

    golden_test.py OCTILE REFERENCE_RUN MODEL.onnx...

Every model runs on random inputs and, where NAME_images.npy or NAME.input*.npy lie beside it, on real ones. Models that are called
digits.onnx are also changed on purpose, which must be noticed. Networks of `scripts/zoo` may be given, too.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "runtime_golden"))
import golden_compare  # noqa: E402
from golden_compare import ort_side  # noqa: E402

DEVICE_LIMIT = 4 << 20  # bytes of the largest model that also runs on a simulated device here


def real_inputs(model, path):
    """Batches of real images for models of one input; one image each."""
    shapes = ort_side.input_shapes(model)
    if len(shapes) != 1:
        return []
    (name, (dtype, shape)), = shapes.items()
    network = path.stem.split(".")[0]
    files = [path.parent / f"{network}_images.npy", *sorted(path.parent.glob(f"{network}.input*.npy"))]
    batches = []
    for file in files:
        if file.exists():
            images = np.load(file)[:1].astype(dtype)
            assert list(images.shape) == shape, f"{file}: {images.shape} for {shape}"
            batches.append({name: images})
    return batches


def check_signature(model, golden):
    """Names, types and ranks of the original come first."""
    constants = {t.name for t in model.graph.initializer}
    for kind in ("input", "output"):
        original = [v for v in getattr(model.graph, kind) if v.name not in constants]
        ours = getattr(golden.graph, kind)
        assert [v.name for v in original] == [v.name for v in ours][:len(original)], f"{kind}s {[v.name for v in ours]}"
        for a, b in zip(original, ours):
            assert a.type.tensor_type.elem_type == b.type.tensor_type.elem_type, f"{kind} '{a.name}' changes its type"
            assert len(a.type.tensor_type.shape.dim) == len(b.type.tensor_type.shape.dim), f"{kind} '{a.name}' changes its rank"
    assert len(golden.graph.input) == len([v for v in model.graph.input if v.name not in constants])


def run_device(octile, path, folder, feeds):
    """Outputs of `octile run`: of the reference and of the SystemC device."""
    arguments = []
    for i, (name, value) in enumerate(feeds.items()):
        file = folder / f"device_in_{i}.npy"
        np.save(file, value)
        arguments += ["--input", f"{name}={file}"]
    command = [octile, "run", str(path), "--device", "systemc", "--output-dir", str(folder / "out"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}: {done.stderr}"
    return {device: {f.stem: np.load(f) for f in (folder / "out" / device).glob("*.npy")} for device in ("reference", "systemc")}


def check_model(octile, tool, path, folder):
    model = onnx.load(path)
    golden = golden_compare.export(octile, str(path), str(folder / "golden.onnx"))
    check_signature(model, golden)
    rng = np.random.default_rng(7)
    runs = [("random", ort_side.random_inputs(model, rng)) for _ in range(2)]
    runs += [("real", feeds) for feeds in real_inputs(model, path)]
    total = 0
    for kind, feeds in runs:
        found, compared = golden_compare.compare(octile, tool, str(path), str(folder), feeds, golden=golden)
        assert found is None, f"{kind} input: {found}"
        total += compared
    if path.stat().st_size <= DEVICE_LIMIT:
        _, feeds = runs[-1]
        results = golden_compare.run(golden_compare.session(golden), feeds)
        for device, outputs in run_device(octile, path, folder, feeds).items():
            assert len(outputs) == len(model.graph.output), f"{device}: outputs {sorted(outputs)}"
            for name, value in outputs.items():
                assert golden_compare.differing(value, results[name]) == 0, f"{device}: output '{name}' differs from ONNX Runtime"
    print(f"{path.name:32} {len(golden.graph.node):5} nodes  {len(runs)} runs  {total:>10} values equal", flush=True)


def initializer(golden, name):
    return next(t for t in golden.graph.initializer if t.name == name)


def replace(tensor, values):
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))


def check_that_changes_are_noticed(octile, tool, path, folder):
    """All images of the classifier as one batch: a unit in the last place of the multipliers, a bias, a weight, a table entry."""
    images = np.load(path.parent / "digits_images.npy")
    model = onnx.load(path)
    (name, (dtype, shape)), = ort_side.input_shapes(model).items()
    whole = [len(images), *shape[1:]]
    shapes = ("--shape", f"{name}={'x'.join(map(str, whole))}")
    feeds = {name: images.astype(dtype)}
    golden = golden_compare.export(octile, str(path), str(folder / "golden.onnx"), shapes)
    _, tensors, steps = ort_side.run_reference(tool, str(path), feeds, str(folder), shapes)

    def found(change):
        changed = onnx.ModelProto()
        changed.CopyFrom(golden)
        change(changed)
        return golden_compare.first_difference(steps, tensors, golden_compare.run(golden_compare.session(changed), feeds))

    def multipliers(changed, toward):
        for node in changed.graph.node:
            if node.op_type in ("QLinearConv", "QGemm"):
                tensor = initializer(changed, node.input[4])
                replace(tensor, np.nextafter(numpy_helper.to_array(tensor), np.float32(toward)))

    def first(changed, op):
        return next(n for n in changed.graph.node if n.op_type == op)

    def bias(changed):
        tensor = initializer(changed, first(changed, "QLinearConv").input[8])
        replace(tensor, numpy_helper.to_array(tensor) + np.int32([40] + [0] * (tensor.dims[0] - 1)))

    def weight(changed):
        tensor = initializer(changed, first(changed, "QLinearConv").input[3])
        values = numpy_helper.to_array(tensor).copy()
        values[0, 0, 2, 2] ^= 8
        replace(tensor, values)

    def entry(changed):
        tensor = initializer(changed, first(changed, "Gather").input[0])
        values = numpy_helper.to_array(tensor).copy()
        values[0] ^= 1  # the background
        replace(tensor, values)

    assert found(lambda changed: None) is None, found(lambda changed: None)
    for what, change, op in (("multipliers one unit in the last place up", lambda c: multipliers(c, 1), "Conv"),
                             ("multipliers one unit in the last place down", lambda c: multipliers(c, 0), "Conv"),
                             ("one bias", bias, "Conv"), ("one weight", weight, "Conv"), ("one table entry", entry, "Table")):
        message = found(change)
        assert message is not None, f"{what}: not noticed"
        assert f"({op})" in message, f"{what}: {message}"
        print(f"{path.name}: {what}: {message}", flush=True)


def main() -> int:
    octile, tool, files = sys.argv[1], sys.argv[2], [pathlib.Path(f) for f in sys.argv[3:]]
    assert files, "no models"
    failures = []
    for path in files:
        with tempfile.TemporaryDirectory() as name:
            try:
                check_model(octile, tool, path, pathlib.Path(name))
                if path.name == "digits.onnx":
                    check_that_changes_are_noticed(octile, tool, path, pathlib.Path(name))
            except AssertionError as error:
                failures.append(f"{path}: {error}")
    for failure in failures:
        print("FAILED", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

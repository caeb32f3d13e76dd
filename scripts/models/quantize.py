"""Post-training quantization of float ONNX models by ONNX Runtime's quantize_static, the way users do it."""

import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime import quantization
from onnxruntime.quantization import QuantFormat, QuantType

onnxruntime.set_default_logger_severity(3)
logging.getLogger().setLevel(logging.ERROR)  # the quantizer advises pre-processing even where there is nothing to fold


class _Feeds(quantization.CalibrationDataReader):
    def __init__(self, feeds):
        self.iterator = iter(feeds)

    def get_next(self):
        return next(self.iterator, None)


def quantize(model, feeds, *, activation=QuantType.QInt8, weight=QuantType.QInt8, per_channel=True,
             symmetric_activations=False, exclude=(), prepare=False, **extra_options):
    """The quantized model of a float model, calibrated (minimum and maximum) on `feeds`, dicts of input name to array.

    exclude: names of nodes that stay in float. prepare: fold BatchNormalization and constants first, as ONNX Runtime's
    quantization guide asks.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (str(Path(folder) / f"{n}.onnx") for n in ("float", "prepared", "quantized"))
        onnx.save(model, source)
        if prepare:
            # What quantization.quant_pre_process does; without sympy that function loses its optimization step.
            options = onnxruntime.SessionOptions()
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
            options.optimized_model_filepath = prepared
            onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
            source = prepared
        quantization.quantize_static(
            source, target, _Feeds(feeds), quant_format=QuantFormat.QDQ, activation_type=activation, weight_type=weight,
            per_channel=per_channel, nodes_to_exclude=list(exclude),
            extra_options={"ActivationSymmetric": symmetric_activations, "WeightSymmetric": True, **extra_options})
        quantized = onnx.load(target)
    quantized.producer_name = "onnxruntime.quantization"
    onnx.checker.check_model(quantized, full_check=True)
    return quantized


def run(model, feed):
    """The outputs of ONNX Runtime with its integer kernels (all optimizations), as a list."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feed)


def input_shapes(model):
    """Name -> (shape with symbolic dimensions as 1, numpy type) of the graph's inputs."""
    shapes = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        shapes[value.name] = ([d.dim_value or 1 for d in tensor.shape.dim],
                              onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return shapes


def random_feeds(model, count, seed, low=-1.0, high=1.0):
    """Seeded inputs that reach the whole range: uniform noise and, every second time, noise with smooth structure."""
    rng = np.random.default_rng(seed)
    feeds = []
    for i in range(count):
        feed = {}
        for name, (shape, dtype) in input_shapes(model).items():
            value = rng.uniform(low, high, shape)
            if i % 2 and len(shape) == 4:
                coarse = rng.uniform(low, high, shape[:2] + [(d + 7) // 8 for d in shape[2:]])
                smooth = coarse.repeat(8, axis=2).repeat(8, axis=3)[:, :, :shape[2], :shape[3]]
                value = 0.25 * value + 0.75 * smooth
            feed[name] = value.astype(dtype)
        feeds.append(feed)
    return feeds


def code_spread(model, feeds):
    """(name, elements, different codes, share of clipped elements) of every activation that the model quantizes.

    An end of the range counts as clipped unless it stands for zero, where rectified values gather.
    """
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    zero_points = {n.output[0]: constants[n.input[2]] for n in model.graph.node
                   if n.op_type == "QuantizeLinear" and n.input[0] not in constants}
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    del probed.graph.output[:]
    probed.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(zero_point.dtype), None)
        for name, zero_point in zero_points.items())
    results = [run(probed, feed) for feed in feeds]
    for i, (name, zero_point) in enumerate(zero_points.items()):
        codes = np.concatenate([r[i].ravel() for r in results])
        ends = {np.iinfo(codes.dtype).min, np.iinfo(codes.dtype).max} - {int(zero_point)}
        yield name, codes.size, len(np.unique(codes)), float(np.isin(codes, list(ends)).mean())

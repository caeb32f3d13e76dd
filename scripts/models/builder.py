"""Writes float ONNX graphs: one method per operator, weights drawn from the builder's seed, shapes checked by ONNX."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Builder:
    """Collects nodes and initializers of one graph. Values are referred to by name; every method returns its output's."""

    def __init__(self, name, seed=0, opset=17):
        self.name, self.opset = name, opset
        self.rng = np.random.default_rng(seed)
        self.nodes, self.initializers, self.inputs, self.outputs = [], [], [], []
        self.counts = {}

    def input(self, name, shape, dtype=TensorProto.FLOAT):
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, value, shape, name=None):
        """Makes `value` a graph output under `name`: the node that computes it is renamed to write there."""
        if name:
            for node in self.nodes:
                node.output[:] = [name if o == value else o for o in node.output]
                node.input[:] = [name if i == value else i for i in node.input]
            value = name
        self.outputs.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, shape))
        return value

    def unique(self, stem, first=None):
        """`stem` numbered from 1 on; the first one may be called differently."""
        self.counts[stem] = self.counts.get(stem, 0) + 1
        return first if first and self.counts[stem] == 1 else f"{stem}{self.counts[stem]}"

    def constant(self, value, stem="constant", dtype=np.float32):
        name = self.unique(stem, first=stem)
        self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, op, inputs, outputs=1, name=None, **attributes):
        """Any operator. One output: its name; more: a list of names."""
        name = name or self.unique(op.lower())
        names = [f"{name}_out"] if outputs == 1 else [f"{name}_out{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=name, **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, x, channels_in, channels_out, kernel, *, stride=1, pads=None, dilation=1, group=1, bias=True,
             weight=None, bias_value=None, gain=2.0, name=None):
        """Convolution with He-scaled random weights, `same`-like padding by default for odd kernels."""
        kh, kw = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        sh, sw = stride if isinstance(stride, tuple) else (stride, stride)
        dh, dw = dilation if isinstance(dilation, tuple) else (dilation, dilation)
        if pads is None:
            pads = [dh * (kh - 1) // 2, dw * (kw - 1) // 2] * 2
        name = name or self.unique("conv")
        shape = (channels_out, channels_in // group, kh, kw)
        if weight is None:
            # Channels of different magnitude make per-channel scales matter.
            spread = self.rng.uniform(0.5, 1.5, (channels_out, 1, 1, 1))
            weight = self.rng.normal(0, np.sqrt(gain / np.prod(shape[1:])), shape) * spread
        inputs = [x, self.constant(weight, f"{name}_weight")]
        if bias:
            if bias_value is None:
                bias_value = self.rng.normal(0, 0.1, channels_out)
            inputs.append(self.constant(bias_value, f"{name}_bias"))
        return self.node("Conv", inputs, name=name, kernel_shape=[kh, kw], strides=[sh, sw], pads=list(pads),
                         dilations=[dh, dw], group=group)

    def depthwise(self, x, channels, kernel, **options):
        return self.conv(x, channels, channels, kernel, group=channels, **options)

    def gemm(self, x, features_in, features_out, *, weight=None, bias_value=None, gain=2.0, name=None):
        """Fully connected layer; the weight is stored [out, in] (transB=1), as PyTorch exports it."""
        name = name or self.unique("fc")
        if weight is None:
            weight = self.rng.normal(0, np.sqrt(gain / features_in), (features_out, features_in))
        if bias_value is None:
            bias_value = self.rng.normal(0, 0.1, features_out)
        return self.node("Gemm", [x, self.constant(weight, f"{name}_weight"), self.constant(bias_value, f"{name}_bias")],
                         name=name, transB=1)

    def matmul(self, x, features_in, features_out, gain=1.0):
        """Product with a constant [in, out] matrix."""
        weight = self.rng.normal(0, np.sqrt(gain / features_in), (features_in, features_out))
        return self.node("MatMul", [x, self.constant(weight, "matmul_weight")])

    def relu(self, x):
        return self.node("Relu", [x])

    def clip(self, x, low, high):
        return self.node("Clip", [x, self.constant(low, "clip_min"), self.constant(high, "clip_max")])

    def relu6(self, x):
        return self.clip(x, 0.0, 6.0)

    def silu(self, x):
        return self.node("Mul", [x, self.node("Sigmoid", [x])])

    def max_pool(self, x, kernel, stride=None, pads=(0, 0, 0, 0), **attributes):
        stride = stride or kernel
        return self.node("MaxPool", [x], kernel_shape=[kernel, kernel], strides=[stride, stride], pads=list(pads),
                         **attributes)

    def average_pool(self, x, kernel, stride=None, pads=(0, 0, 0, 0), **attributes):
        stride = stride or kernel
        return self.node("AveragePool", [x], kernel_shape=[kernel, kernel], strides=[stride, stride], pads=list(pads),
                         **attributes)

    def flatten(self, x):
        return self.node("Flatten", [x], axis=1)

    def model(self):
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.initializers)
        # IR 8 is the version of opset 17's days: the one that the oldest supported reader knows.
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)],
                                  ir_version=8 if self.opset <= 18 else 10, producer_name="octile scripts/models")
        onnx.checker.check_model(model, full_check=True)
        return model

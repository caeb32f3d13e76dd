"""Evidence for the rules of docs/numerics.md against ONNX Runtime.

    ort_evidence.py EVAL [--only SUBSTRING]

EVAL is the octile_numerics_eval program. For each rule: models of one operator with random parameters, most of them
chosen so that many values fall on or beside a tie; ONNX Runtime with the golden settings (section 8 of the page); our
library on the same operands. A rule passes with at least 10^6 outputs, a tenth of them near ties, no mismatch, the
integer kernel present in the optimized model, and every deliberately wrong variant caught by the same outputs. Results
that are fp32 have no ties and are compared bit for bit. Rules of N13 are held to their own bound instead.
"""

import argparse
import os
import struct
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
import onnxruntime as ort

F = np.float32
U8, S8 = np.uint8, np.int8
ONNX_TYPE = {
    np.dtype(U8): TensorProto.UINT8,
    np.dtype(S8): TensorProto.INT8,
    np.dtype(np.uint16): TensorProto.UINT16,
    np.dtype(np.int16): TensorProto.INT16,
    np.dtype(np.int32): TensorProto.INT32,
    np.dtype(F): TensorProto.FLOAT,
}
MILLION = 1_000_000
np.seterr(all="ignore")

EVAL = ""
SCRATCH = tempfile.TemporaryDirectory(prefix="octile_numerics_")


# ---- our side ------------------------------------------------------------------------------------------------------


def evaluate(rule, *arguments):
    """Runs the library; integers travel as int32, floats as fp32."""
    source, target = os.path.join(SCRATCH.name, "in"), os.path.join(SCRATCH.name, "out")
    with open(source, "wb") as f:
        for value in arguments:
            a = np.asarray(value)
            is_float = a.dtype.kind == "f"
            a = np.ascontiguousarray(a, dtype=F if is_float else np.int32).reshape(-1)
            f.write(struct.pack("<IQ", int(is_float), a.size))
            f.write(a.tobytes())
    run = subprocess.run([EVAL, rule, source, target], capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(f"{rule}: {run.stderr.strip()}")
    with open(target, "rb") as f:
        kind, _ = struct.unpack("<IQ", f.read(12))
        return np.frombuffer(f.read(), dtype=F if kind else np.int32)


# ---- ONNX Runtime --------------------------------------------------------------------------------------------------


def options():
    o = ort.SessionOptions()
    o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    o.add_session_config_entry("session.qdqisint8allowed", "1")
    o.add_session_config_entry("session.disable_double_qdq_remover", "1")
    with open("/proc/cpuinfo") as f:
        if "vnni" not in f.read():
            # u8 x s8 saturates without these instructions (section 3, U8S8 saturation).
            o.add_session_config_entry("session.x64quantprecision", "1")
    o.intra_op_num_threads = 1
    o.log_severity_level = 3
    return o


OPTIONS = options()
OPTIMIZED = os.path.join(SCRATCH.name, "optimized.onnx")


class Graph:
    """A small model under construction; a value is known by its name."""

    def __init__(self):
        self.nodes, self.initializers, self.inputs, self.outputs = [], [], [], []

    def input(self, dtype, shape, name=None):
        name = name or f"x{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, ONNX_TYPE[np.dtype(dtype)], shape))
        return name

    def constant(self, value):
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, op, inputs, domain="", **attributes):
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], domain=domain, **attributes))
        return name

    def dequantize(self, x, scale, zero, axis=None):
        attributes = {} if axis is None else {"axis": axis}
        return self.node(
            "DequantizeLinear", [x, self.constant(np.asarray(scale, F)), self.constant(zero)], **attributes
        )

    def quantize(self, x, scale, zero):
        return self.node("QuantizeLinear", [x, self.constant(np.asarray(scale, F)), self.constant(zero)])

    def output(self, name, dtype):
        self.outputs.append(helper.make_tensor_value_info(name, ONNX_TYPE[np.dtype(dtype)], None))

    def kinds(self):
        """The operators of the model as ONNX Runtime optimizes it."""
        self.session("")
        return [n.op_type for n in onnx.load(OPTIMIZED).graph.node]

    def session(self, kernel=None, forbidden=()):
        """kernel: an operator that must be in the optimized model; forbidden: operators that must not."""
        graph = helper.make_graph(self.nodes, "evidence", self.inputs, self.outputs, self.initializers)
        model = helper.make_model(
            graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        )
        OPTIONS.optimized_model_filepath = OPTIMIZED if kernel is not None else ""
        session = ort.InferenceSession(model.SerializeToString(), OPTIONS, providers=["CPUExecutionProvider"])
        if kernel:
            kinds = [n.op_type for n in onnx.load(OPTIMIZED).graph.node]
            if kernel not in kinds or any(f in kinds for f in forbidden):
                raise SystemExit(f"ONNX Runtime did not use {kernel}: the optimized model holds {kinds}")
        return session


def run(session, *arrays):
    return session.run(None, {i.name: np.asarray(a) for i, a in zip(session.get_inputs(), arrays)})[0]


# ---- evidence ------------------------------------------------------------------------------------------------------

FAILURES = []


def near_ties(exact, scale):
    """Within four units in the last place (fp32, of the largest value rounded on the way) of a half-integer."""
    tolerance = 4 * 2.0**-23 * np.maximum(scale, 1)
    return np.abs(exact - (np.floor(exact) + 0.5)) <= tolerance


class Evidence:
    def __init__(self, rule):
        self.rule, self.outputs, self.near, self.mismatches, self.variants = rule, 0, 0, 0, {}

    def add(self, ours, theirs, near=None, **variants):
        ours, theirs = np.asarray(ours).reshape(-1), np.asarray(theirs).reshape(-1)
        if ours.dtype == F:  # bit for bit; every NaN is one value
            different = (ours.view(np.uint32) != theirs.view(np.uint32)) & ~(np.isnan(ours) & np.isnan(theirs))
        else:
            theirs = theirs.astype(np.int64)
            different = ours != theirs
        if different.any() and not self.mismatches:
            i = int(np.argmax(different))
            print(f"{self.rule}: element {i}: ours {ours[i]}, ONNX Runtime {theirs[i]}")
        self.outputs += ours.size
        self.mismatches += int(different.sum())
        if near is not None:
            self.near += int(np.count_nonzero(near))
        for name, value in variants.items():
            value = np.asarray(value).reshape(-1)
            self.variants[name] = self.variants.get(name, 0) + int(np.count_nonzero(value != theirs))

    def close(self, outputs=MILLION, near_share=0.1):
        problems = []
        if self.outputs < outputs:
            problems.append("too few outputs")
        if self.near < near_share * self.outputs:
            problems.append("too few near ties")
        if self.mismatches:
            problems.append(f"{self.mismatches} mismatches")
        problems += [f"the wrong variant '{name}' was not caught" for name, count in self.variants.items() if not count]
        wrong = ", ".join(f"{name} {count}" for name, count in self.variants.items())
        print(
            f"{'FAIL' if problems else 'ok  '} {self.rule}: {self.outputs} outputs, {self.near} near ties, "
            f"{self.mismatches} mismatches; wrong variants caught: {wrong or 'none tried'}",
            flush=True,
        )
        FAILURES.extend(f"{self.rule}: {p}" for p in problems)


def limits(dtype):
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def zero_point(rng, dtype):
    lo, hi = limits(dtype)
    return int(rng.integers(lo, hi + 1))


def scale(rng, lo=-8.0, hi=2.0, size=None):
    return F(2.0 ** rng.uniform(lo, hi, size))


def nudge(rng, value, steps=3):
    """A few representable numbers away."""
    value = np.asarray(value, F)
    return (value.view(np.int32) + rng.integers(-steps, steps + 1, value.shape).astype(np.int32)).view(F)


def tie_ratio(rng, shift=3, k=5):
    """Odd / 2^j: its products with integers are often half-integers."""
    return (2 * int(rng.integers(0, k + 1)) + 1) / 2.0 ** int(rng.integers(1, shift + 1))


def rint(v):
    return np.rint(v)


def half_away(v):
    v = np.asarray(v, np.float64)
    return np.copysign(np.floor(np.abs(v) + 0.5), v)


def saturate(v, lo, hi):
    return np.clip(v, lo, hi).astype(np.int64)


def requantize_variants(acc, m, zy, lo, hi, **more):
    """The wrong orders of N3, in numpy: acc int64, m fp32, both of one shape."""
    acc64, m64 = acc.astype(np.float64), m.astype(np.float64)
    v = F(acc) * m
    result = {
        "exact product": saturate(rint(acc64 * m64) + zy, lo, hi),
        "accumulator not rounded": saturate(rint(F(acc64 * m64)) + zy, lo, hi),
        "product not rounded": saturate(rint(F(acc).astype(np.float64) * m64) + zy, lo, hi),
        "half away from zero": saturate(half_away(v) + zy, lo, hi),
        "zero point first": saturate(rint(np.clip(v + F(zy), F(-1e6), F(1e6))), lo, hi),
    }
    for name, other in more.items():
        result[name] = saturate(rint(F(acc) * other) + zy, lo, hi)
    return result


# ---- N1, N2, N3 ----------------------------------------------------------------------------------------------------


def windows(x, kernel, group_in):
    """[C, H, W] -> [H', W', C, kernel, kernel], stride 1, no padding."""
    return np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(1, 2)).transpose(1, 2, 0, 3, 4)


def conv():
    evidence = Evidence("N1-N3 QLinearConv")
    rng = np.random.default_rng(1)
    cases = [(U8, S8), (U8, U8), (S8, S8)]
    shapes = [
        ("dense 1x1", 30_000, 1, 1, 3, False),
        ("dense 3x3", 12_000, 4, 3, 5, False),
        ("depthwise", 16_000, 16_000, 3, 4, True),
    ]
    for xt, wt in cases:
        for name, channels, inputs, kernel, size, depthwise in shapes:
            sx, sy = scale(rng), scale(rng)
            zx, zy = zero_point(rng, xt), zero_point(rng, xt)
            zw = zero_point(rng, wt) if wt is U8 else 0
            lo, hi = limits(xt)
            # Multipliers of every size; small ones need large accumulators, where all three roundings act.
            exponent = np.where(
                rng.random(channels) < 0.7, rng.uniform(-24, -18, channels), rng.uniform(-14, 0, channels)
            )
            sw = F(2.0**exponent * sy / sx)
            sw[0] = F(1e-36)  # a dead channel
            m = (sx * sw) / sy
            x = rng.integers(lo, hi + 1, (inputs, size, size)).astype(xt)
            if name == "dense 1x1":
                x[:] = np.clip(zx + rng.integers(-6, 7, x.shape), lo, hi).astype(xt)
            wlo, whi = limits(wt)
            w = rng.integers(wlo, whi + 1, (channels, 1 if depthwise else inputs, kernel, kernel)).astype(wt)
            patches = windows(x.astype(np.int64) - zx, kernel, inputs)
            wide = w.astype(np.int64) - zw
            if depthwise:
                acc = np.einsum("hwckl,ckl->chw", patches.astype(np.float64), wide[:, 0].astype(np.float64)).astype(
                    np.int64
                )
            else:
                p = patches.reshape(patches.shape[0] * patches.shape[1], -1).astype(np.float64)
                acc = (
                    (wide.reshape(channels, -1).astype(np.float64) @ p.T)
                    .astype(np.int64)
                    .reshape(channels, *patches.shape[:2])
                )
            # The bias takes the first pixel of each channel to a tie.
            target = rng.integers(lo - zy, hi - zy, channels) + 0.5
            wanted = np.clip(
                np.rint(target / m.astype(np.float64)), -(2.0**31) + 2**22, 2.0**31 - 2**22
            ).astype(np.int64)
            bias = wanted - acc[:, 0, 0]
            bias[-1] = 2**31 - 1  # wraps where the sum of products is positive
            bias = np.clip(bias, -(2**31), 2**31 - 1).astype(np.int32)
            acc = acc + bias[:, None, None]
            acc = (acc + 2**31) % 2**32 - 2**31
            g = Graph()
            xd = g.dequantize(g.input(xt, [1, inputs, size, size]), sx, xt(zx))
            wd = g.dequantize(g.constant(w), sw, np.full(channels, zw, wt), axis=0)
            bd = g.dequantize(g.constant(bias), sx * sw, np.zeros(channels, np.int32), axis=0)
            y = g.node("Conv", [xd, wd, bd], group=channels if depthwise else 1, kernel_shape=[kernel, kernel])
            g.output(g.quantize(y, sy, xt(zy)), xt)
            theirs = run(g.session("QLinearConv", ["Conv", "FusedConv"]), x[None])[0]
            per_output = np.repeat(np.arange(channels), acc.shape[1] * acc.shape[2])
            flat, mm = acc.reshape(-1), m[per_output]
            ours = evaluate("conv", flat, sx, sw[per_output], sy, zy, lo, hi)
            exact = flat * mm.astype(np.float64)
            late = sx * (sw / sy)
            evidence.add(
                ours,
                theirs,
                near_ties(exact, np.abs(exact)) & (np.abs(exact) < 1000),
                **requantize_variants(flat, mm, zy, lo, hi, **{"sx (sw / sy)": late[per_output]}),
            )
    evidence.close()


def bias():
    evidence = Evidence("N1 float bias of QLinearConv")
    rng = np.random.default_rng(2)
    channels = 100_000
    for i in range(10):
        xt = U8 if i % 2 else S8
        lo, hi = limits(xt)
        zx, zy = zero_point(rng, xt), zero_point(rng, xt)
        sx = scale(rng)
        sw = scale(rng, -10, -3, channels)
        sy = F(sx * F(2.0**-7))
        step = sx * sw
        # The multiplier stays below one, so that the bias shows in the output: y = RN(bias * step / sy) + zy.
        sw = F(np.exp2(rng.uniform(-9, -7, channels)))
        sw[: channels // 2] = F(2.0**-7)
        step = sx * sw
        target = rng.integers(lo - zy, hi - zy, channels) + 0.5
        b = nudge(rng, F(target) * step)
        g = Graph()
        xd = g.dequantize(g.input(xt, [1, 1, 1, 1]), sx, xt(zx))
        wd = g.dequantize(g.constant(np.ones((channels, 1, 1, 1), S8)), sw, np.zeros(channels, S8), axis=0)
        y = g.node("Conv", [xd, wd, g.constant(b)], kernel_shape=[1, 1])
        g.output(g.quantize(y, sy, xt(zy)), xt)
        theirs = run(g.session("QLinearConv", ["Conv", "FusedConv"]), np.full((1, 1, 1, 1), zx, xt))
        code = evaluate("bias", b, sx, sw)
        ours = evaluate("conv", code, sx, sw, sy, zy, lo, hi)
        exact = b.astype(np.float64) / step

        def through(value):
            return evaluate("conv", np.clip(value, -(2.0**31), 2.0**31 - 1).astype(np.int64), sx, sw, sy, zy, lo, hi)

        inverse = F(1) / step
        evidence.add(
            ours,
            theirs,
            near_ties(exact, np.abs(exact)),
            **{
                "half away from zero": through(half_away(b / step)),
                "reciprocal": through(rint(b * inverse)),
                "b / sx / sw": through(rint((b / sx) / sw)),
                "truncated": through(np.trunc(b / step)),
            },
        )
    evidence.close()


def bias_scale():
    """N1: which bias scales ONNX Runtime accepts as those of an int32 bias.

    It allows 1e-6 besides the 1 %, which for small scales is any bias scale at all; N1 has the 1 % alone. So the two
    are compared where 1e-6 is negligible, and the known difference is pinned.
    """

    def fused(sx, sw, s, zero):
        g = Graph()
        xd, wd = g.dequantize(g.input(U8, [1, 1, 2, 2]), sx, U8(3)), g.dequantize(
            g.constant(np.ones((1, 1, 1, 1), S8)), sw, S8(0)
        )
        bd = g.dequantize(g.constant(np.ones(1, np.int32)), np.full(1, s), np.full(1, zero, np.int32), axis=0)
        g.output(g.quantize(g.node("Conv", [xd, wd, bd], kernel_shape=[1, 1]), F(0.1), U8(0)), U8)
        return "QLinearConv" in g.kinds()

    rng = np.random.default_rng(18)
    wrong = tried = 0
    for ratio in (0.5, 0.98, 0.9899, 0.9901, 1.0, 1.0099, 1.0101, 1.02, 2.0):
        for zero in (0, 1):
            sx, sw = scale(rng, 0, 3), scale(rng, 0, 3)
            s = F((sx * sw) * F(ratio))
            accepted = bool(evaluate("bias_scale", s, sx, sw)[0]) and zero == 0
            wrong += fused(sx, sw, s, zero) != accepted
            tried += 1
    small = F(1e-3)
    wrong += not fused(small, small, F(5e-7), 0) or bool(evaluate("bias_scale", F(5e-7), small, small)[0])
    print(
        f"{'FAIL' if wrong else 'ok  '} N1 bias scale: {tried} biases, {wrong} accepted otherwise than by ONNX Runtime",
        flush=True,
    )
    if wrong:
        FAILURES.append("N1 bias scale: not as ONNX Runtime decides")


def gemm_session(at, bt, a_shape, b, alpha, sa, za, sb, zb, bias_code, sy=None, zy=None):
    """With alpha = 1 a QDQ model that must become QGemm; another alpha is not fused, so then the kernel itself."""
    g = Graph()
    a = g.input(at, a_shape)
    zeros = np.full(len(sb), zb, bt)
    if alpha != 1:
        inputs = [
            a,
            g.constant(sa),
            g.constant(at(za)),
            g.constant(b),
            g.constant(sb),
            g.constant(zeros),
            g.constant(bias_code),
        ]
        if sy is not None:
            inputs += [g.constant(sy), g.constant(at(zy))]
        g.output(g.node("QGemm", inputs, domain="com.microsoft", alpha=alpha), F if sy is None else at)
        return g.session("QGemm")
    ad, bd = g.dequantize(a, sa, at(za)), g.dequantize(g.constant(b), sb, zeros, axis=1)
    cd = g.dequantize(g.constant(bias_code), sa * sb, np.zeros(len(sb), np.int32), axis=0)
    y = g.node("Gemm", [ad, bd, cd])
    g.output(y if sy is None else g.quantize(y, sy, at(zy)), F if sy is None else at)
    return g.session("QGemm", ["Gemm"])


def gemm():
    evidence = Evidence("N2 QGemm")
    rng = np.random.default_rng(3)
    for i in range(6):
        at, bt = [(U8, S8), (U8, U8), (S8, S8)][i % 3]
        alpha = float(F(rng.uniform(0.3, 3))) if i < 4 else 1.0
        columns, rows, k = 20_000, 10, 5
        lo, hi = limits(at)
        za, zy, zb = zero_point(rng, at), zero_point(rng, at), zero_point(rng, bt) if bt is U8 else 0
        sa, sy = scale(rng), scale(rng)
        sb = F(np.exp2(rng.uniform(-24, -18, columns)) * sy / sa / alpha)
        m = ((F(alpha) * sa) * sb) / sy
        a = np.clip(za + rng.integers(-3, 4, (rows, k)), lo, hi).astype(at)
        b = rng.integers(*limits(bt), (k, columns)).astype(bt)
        acc = ((a.astype(np.float64) - za) @ (b.astype(np.float64) - zb)).astype(np.int64)
        target = rng.integers(lo - zy, hi - zy, columns) + 0.5
        bias_code = np.clip(
            np.rint(target / m.astype(np.float64)) - acc[0], -(2.0**31) + 2**24, 2.0**31 - 2**24
        ).astype(np.int32)
        acc += bias_code
        theirs = run(gemm_session(at, bt, [rows, k], b, alpha, sa, za, sb, zb, bias_code, sy, zy), a)
        flat = acc.reshape(-1)
        spread = np.tile(np.arange(columns), rows)
        ours = evaluate("gemm", flat, F(alpha), sa, sb[spread], sy, zy, lo, hi)
        exact = flat * m[spread].astype(np.float64)
        more = {"alpha last": (((sa * sb) * F(alpha)) / sy)[spread]} if alpha != 1 else {}
        evidence.add(
            ours, theirs, near_ties(exact, np.abs(exact)), **requantize_variants(flat, m[spread], zy, lo, hi, **more)
        )
    evidence.close()


def matmul():
    evidence = Evidence("N2 QLinearMatMul")
    rng = np.random.default_rng(4)
    for i in range(18):
        at, bt = [(U8, S8), (U8, U8), (S8, S8)][i % 3]
        rows, k, columns = 32, 2000, 2000
        lo, hi = limits(at)
        za, zy = (0 if at is U8 else -128), zero_point(rng, at)
        zb = 0 if bt is S8 else 20
        sa, sy = scale(rng), scale(rng)
        a = np.tile(rng.integers(lo + 130, hi + 1, (1, k)), (rows, 1))
        a[:, 0] = rng.integers(
            lo, hi + 1, rows
        )  # the rows differ in one element, which half of the columns multiply by zero
        a = a.astype(at)
        b = rng.integers(60, 128, (k, columns))
        b[0] = np.where(rng.random(columns) < 0.5, zb, zb + rng.integers(1, 9, columns))
        b = b.astype(bt)
        acc = ((a.astype(np.float64) - za) @ (b.astype(np.float64) - zb)).astype(np.int64)
        target = rng.integers(0, 256, columns) + 0.5
        sb = nudge(rng, F(target / acc[0] * sy / sa), 2)
        m = (sa * sb) / sy
        zy = lo if i % 2 else zy
        g = Graph()
        ad = g.dequantize(g.input(at, [rows, k]), sa, at(za))
        bd = g.dequantize(g.constant(b), sb, np.full(columns, zb, bt), axis=1)
        g.output(g.quantize(g.node("MatMul", [ad, bd]), sy, at(zy)), at)
        theirs = run(g.session("QLinearMatMul", ["MatMul"]), a)
        flat, spread = acc.reshape(-1), np.tile(np.arange(columns), rows)
        ours = evaluate("conv", flat, sa, sb[spread], sy, zy, lo, hi)
        exact = flat * m[spread].astype(np.float64)
        evidence.add(
            ours,
            theirs,
            near_ties(exact, np.abs(exact)),
            **requantize_variants(flat, m[spread], zy, lo, hi, **{"sa (sb / sy)": (sa * (sb / sy))[spread]}),
        )
    evidence.close()


# ---- N4, N12 -------------------------------------------------------------------------------------------------------


def quantize():
    for rule in ("quantize", "dequantize"):
        evidence = Evidence("N4 QuantizeLinear" if rule == "quantize" else "N4 DequantizeLinear")
        rng = np.random.default_rng(5)
        for dtype in (U8, S8, np.uint16, np.int16):
            channels, length = 1000, 300
            lo, hi = limits(dtype)
            s = scale(rng, -20, 10, channels)
            z = rng.integers(lo, hi + 1, channels).astype(dtype)
            per_element = np.repeat(np.arange(channels), length)
            g = Graph()
            if rule == "quantize":
                x = nudge(
                    rng,
                    F(
                        (rng.integers(lo - 9, hi + 9, (channels, length)) + 0.5 - z[:, None].astype(np.int64))
                        * s[:, None]
                    ),
                )
                x[:, :5] = np.array([np.nan, np.inf, -np.inf, 0, -0.0], F)
                name = g.input(F, x.shape)
                g.output(g.node("QuantizeLinear", [name, g.constant(s), g.constant(z)], axis=0), dtype)
                theirs = run(g.session(), x).reshape(-1)
                flat, ss, zz = x.reshape(-1), s[per_element], z.astype(np.int64)[per_element]
                ours = evaluate("quantize", flat, ss, zz, lo, hi)
                quotient = np.nan_to_num(flat / ss, nan=-1e9, posinf=1e9, neginf=-1e9)
                inverse = np.nan_to_num(flat * (F(1) / ss), nan=-1e9, posinf=1e9, neginf=-1e9)
                evidence.add(
                    ours,
                    theirs,
                    near_ties(flat.astype(np.float64) / ss, np.abs(quotient)),
                    **{
                        "reciprocal": saturate(rint(inverse) + zz, lo, hi),
                        "half away from zero": saturate(half_away(quotient) + zz, lo, hi),
                        "zero point first": saturate(rint(quotient + F(1) * zz.astype(F)), lo, hi),
                    },
                )
            else:
                q = rng.integers(lo, hi + 1, (channels, length)).astype(dtype)
                name = g.input(dtype, q.shape)
                g.output(g.node("DequantizeLinear", [name, g.constant(s), g.constant(z)], axis=0), F)
                theirs = run(g.session(), q).reshape(-1)
                flat, ss, zz = q.reshape(-1).astype(np.int64), s[per_element], z.astype(np.int64)[per_element]
                evidence.add(
                    evaluate("dequantize", flat, zz, ss), theirs, **{"two products": F(flat) * ss - F(zz) * ss}
                )
        evidence.close(near_share=0.1 if rule == "quantize" else 0)


def dynamic():
    evidence = Evidence("N12 DynamicQuantizeLinear")
    rng = np.random.default_rng(6)
    g = Graph()
    name = g.input(F, [None])
    g.nodes.append(helper.make_node("DynamicQuantizeLinear", [name], ["y", "s", "z"]))
    for output, dtype in (("y", U8), ("s", F), ("z", U8)):
        g.output(output, dtype)
    session = g.session()
    half_tie = 0
    for i in range(1100):
        low, high = -float(scale(rng, -6, 3)), float(scale(rng, -6, 3))
        if i % 4 == 0:  # the zero point itself on a tie
            high = float(scale(rng, -6, 3))
            t = int(rng.integers(0, 255)) + 0.5
            low = -high * t / (255 - t)
        elif i % 50 == 1:
            low = abs(low)
        elif i % 50 == 2:
            high = -abs(high)
        low, high = sorted((F(low), F(high)))
        s, z = evaluate("dynamic_quantization", low, high)
        s = np.int32(s).view(F)
        x = nudge(rng, (rng.integers(0, 256, 1000) - z + F(0.5)) * s)
        x = np.clip(x, low, high)
        x[0], x[1] = low, high
        y, ts, tz = session.run(None, {"x0": x})
        if ts != s or tz != z:
            evidence.mismatches += 1
        ours = evaluate("quantize", x, s, z, 0, 255)
        zero_away = half_away(np.clip(F(0) - min(low, F(0)) / s, 0, 255))
        half_tie += int(zero_away) != int(tz)
        evidence.add(
            ours,
            y,
            near_ties(x.astype(np.float64) / s, np.abs(x / s)),
            **{
                "reciprocal": saturate(rint(x * (F(1) / s)) + z, 0, 255),
                "scale * 255 in fp64": saturate(rint(x / (np.float64(max(high, 0)) - min(low, 0)) * 255) + z, 0, 255),
            },
        )
    evidence.variants["zero point half away"] = half_tie
    evidence.close()


# ---- N5, N9 --------------------------------------------------------------------------------------------------------


def special_floats(rng, count):
    x = np.concatenate(
        [
            rng.uniform(-20, 20, count // 2).astype(F),
            (rng.standard_normal(count // 4) * 3).astype(F),
            F(np.exp2(rng.uniform(-60, 8, count // 4))) * rng.choice(np.array([-1, 1], F), count // 4),
            np.array([0, -0.0, 1e-45, -1e-45, 9, -9, 18, -18, 1e30, -1e30, np.inf, -np.inf], F),
        ]
    )
    return np.ascontiguousarray(x)


def sigmoid64(x):
    return F(1 / (1 + np.exp(-x.astype(np.float64))))


def polynomials():
    rng = np.random.default_rng(7)
    for op, exact in (("Sigmoid", sigmoid64), ("Tanh", lambda x: F(np.tanh(x.astype(np.float64))))):
        evidence = Evidence(f"N5 {op}, fp32 bit for bit")
        x = special_floats(rng, 1_200_000)
        g = Graph()
        g.output(g.node(op, [g.input(F, [None])]), F)
        theirs = run(g.session(), x)
        evidence.add(evaluate(op, x), theirs, **{"correctly rounded": exact(x)})
        evidence.close(near_share=0)


def tables():
    """QLinear kernels that are tables: their parameters are graph inputs, so each run is a new table."""
    rng = np.random.default_rng(8)
    for op, function in (("QLinearSigmoid", "Sigmoid"), ("QLinearLeakyRelu", "LeakyRelu")):
        evidence = Evidence(f"N5 {op}")
        for dtype in (U8, S8):
            lo, hi = limits(dtype)
            codes = np.arange(lo, hi + 1, dtype=np.int64)
            # One model in QDQ form shows that it becomes the kernel; the many tables come from the kernel itself.
            q = Graph()
            attributes = {"alpha": 0.1} if function == "LeakyRelu" else {}
            d = q.dequantize(q.input(dtype, [256]), F(0.03), dtype(3))
            q.output(q.quantize(q.node(function, [d], **attributes), F(0.004), dtype(5)), dtype)
            run(q.session(op, [function]), codes.astype(dtype))
            g = Graph()
            names = [g.input(dtype, [256]), g.input(F, []), g.input(dtype, []), g.input(F, []), g.input(dtype, [])]
            g.output(g.node(op, names, domain="com.microsoft", **attributes), dtype)
            session = g.session()
            xs, params, theirs = [], [], []
            for _ in range(2100):
                sx, zx, zy = scale(rng, -7, -2), zero_point(rng, dtype), zero_point(rng, dtype)
                if function == "LeakyRelu":
                    sy = nudge(rng, F(sx / F(tie_ratio(rng))))
                else:
                    # One value of the function on a tie; with the larger scales that is the value 1, of many codes.
                    many = rng.random() < 0.6
                    if many:
                        sx, zx, zy = scale(rng, -2, 2), zero_point(rng, dtype) // 2, int(rng.integers(lo, hi))
                    v = 1.0 if many else float(sigmoid64(F(sx * F(rng.integers(-60, 60)))))
                    sy = nudge(rng, F(v / (int(rng.integers(0, hi - zy + 1)) + 0.5)), 1)
                theirs.append(run(session, codes.astype(dtype), sx, np.array(zx, dtype), sy, np.array(zy, dtype)))
                params.append((sx, zx, sy, zy))
            table = np.repeat(np.array(params, np.float64), 256, axis=0)
            sx, zx, sy, zy = F(table[:, 0]), table[:, 1].astype(int), F(table[:, 2]), table[:, 3].astype(int)
            c = np.tile(codes, len(params))
            x = evaluate("dequantize", c, zx, sx)
            f = evaluate(function, x)
            ours = evaluate("quantize", f, sy, zy, lo, hi)
            wide = f.astype(np.float64) / sy
            inverse = F(1) / sy
            variants = {
                "reciprocal": saturate(rint(f * inverse) + zy, lo, hi),
                "zero point first": saturate(rint(f / sy + F(zy)), lo, hi),
                "half away from zero": saturate(half_away(f / sy) + zy, lo, hi),
            }
            if function == "LeakyRelu":
                real = np.where(x >= 0, x.astype(np.float64), x.astype(np.float64) * float(F(0.1)))
                variants["product not rounded"] = saturate(rint(real / sy) + zy, lo, hi)
            evidence.add(ours, np.concatenate(theirs), near_ties(wide, np.abs(wide)), **variants)
        evidence.close()


FUNCTIONS = {
    # name: (operator, attributes, least, greatest input)
    "HardSigmoid": ("HardSigmoid", {}, -8, 8),
    "HardSwish": ("HardSwish", {}, -8, 8),
    "ThresholdedRelu": ("ThresholdedRelu", {}, -4, 4),
    "Softsign": ("Softsign", {}, -8, 8),
    "Shrink": ("Shrink", {"bias": 0.25, "lambd": 0.5}, -4, 4),
    "Elu": ("Elu", {}, -6, 6),
    "Selu": ("Selu", {}, -6, 6),
    "Celu": ("Celu", {"alpha": 1.5}, -6, 6),
    "Softplus": ("Softplus", {}, -10, 10),
    "Mish": ("Mish", {}, -10, 10),
    "Erf": ("Erf", {}, -4, 4),
    "Gelu": ("Gelu", {}, -6, 6),
    "GeluTanh": ("Gelu", {"approximate": "tanh"}, -6, 6),
    "Exp": ("Exp", {}, -10, 5),
    "Log": ("Log", {}, 0.01, 50),
    "Sqrt": ("Sqrt", {}, 0, 50),
    "Reciprocal": ("Reciprocal", {}, 0.05, 4),
    "Abs": ("Abs", {}, -4, 4),
    "Neg": ("Neg", {}, -4, 4),
    "Sign": ("Sign", {}, -4, 4),
    "Floor": ("Floor", {}, -40, 40),
    "Ceil": ("Ceil", {}, -40, 40),
    "Round": ("Round", {}, -40, 40),
    "Sin": ("Sin", {}, -6, 6),
    "Cos": ("Cos", {}, -6, 6),
    "Atan": ("Atan", {}, -6, 6),
    "Relu": ("Relu", {}, -4, 4),
}
EXACT_FUNCTIONS = {
    "HardSwish",
    "HardSigmoid",
    "ThresholdedRelu",
    "Softsign",
    "Shrink",
    "Sqrt",
    "Reciprocal",
    "Abs",
    "Neg",
    "Sign",
    "Floor",
    "Ceil",
    "Round",
    "Relu",
}


def functions():
    """N5, functions computed in fp32: at most one code from ONNX Runtime; those made of single operations, exactly."""
    rng = np.random.default_rng(9)
    total, differing, worst = 0, 0, 0
    for name, (op, attributes, low, high) in FUNCTIONS.items():
        x = np.concatenate([rng.uniform(low, high, 100_000), np.linspace(low, high, 256)]).astype(F)
        g = Graph()
        g.output(g.node(op, [g.input(F, [None])], **attributes), F)
        theirs = run(g.session(), x)
        ours = evaluate(name, x)
        sy = F((float(ours.max()) - float(ours.min())) / 255)
        zy = int(np.clip(round(-float(ours.min()) / float(sy)), 0, 255))
        a, b = evaluate("quantize", ours, sy, zy, 0, 255), evaluate("quantize", theirs, sy, zy, 0, 255)
        total += a.size
        differing += int(np.count_nonzero(a != b))
        worst = max(worst, int(np.abs(a - b).max()))
        if np.abs(a - b).max() > 1:
            FAILURES.append(f"N5 {name}: more than one code from ONNX Runtime")
        bits = int(np.count_nonzero(ours.view(np.uint32) != theirs.view(np.uint32)))
        if name in EXACT_FUNCTIONS and bits:
            FAILURES.append(f"N5 {name}: {bits} fp32 results differ from ONNX Runtime")
            print(f"FAIL N5 {name}: {bits} of {x.size} fp32 results differ")
    print(
        f"{'ok  ' if worst <= 1 else 'FAIL'} N5 other functions: {len(FUNCTIONS)} functions, {total} outputs, "
        f"{differing} codes differ, at most by {worst}",
        flush=True,
    )


def concat():
    evidence = Evidence("N9 QLinearConcat")
    rng = np.random.default_rng(10)
    for dtype in (U8, S8):
        lo, hi = limits(dtype)
        codes = np.arange(lo, hi + 1, dtype=np.int64)
        q = Graph()
        parts = [q.dequantize(q.input(dtype, [256]), F(0.03 * k), dtype(3)) for k in (1, 2)]
        q.output(q.quantize(q.node("Concat", parts, axis=0), F(0.05), dtype(5)), dtype)
        run(q.session("QLinearConcat", ["Concat"]), codes.astype(dtype), codes.astype(dtype))
        g = Graph()
        names = [g.input(F, []), g.input(dtype, [])]
        for _ in range(8):
            names += [g.input(dtype, [256]), g.input(F, []), g.input(dtype, [])]
        g.output(g.node("QLinearConcat", names, domain="com.microsoft", axis=0), dtype)
        session = g.session()
        rows, theirs = [], []
        for _ in range(260):
            sy, zy = scale(rng), zero_point(rng, dtype)
            feeds = [sy, np.array(zy, dtype)]
            for k in range(8):
                sx, zx = nudge(rng, F(sy * F(tie_ratio(rng)))), zero_point(rng, dtype)
                if k == 7:
                    sx, zx = sy, zy  # equal parameters: a copy
                feeds += [codes.astype(dtype), sx, np.array(zx, dtype)]
                rows.append((sx, zx, sy, zy))
            theirs.append(run(session, *feeds))
        table = np.repeat(np.array(rows, np.float64), 256, axis=0)
        sx, zx, sy, zy = F(table[:, 0]), table[:, 1].astype(int), F(table[:, 2]), table[:, 3].astype(int)
        c = np.tile(codes, len(rows))
        ours = evaluate("rescale", c, sx, zx, sy, zy, lo, hi)
        real = (c - zx) * (sx / sy).astype(np.float64)
        evidence.add(
            ours,
            np.concatenate(theirs),
            near_ties(real, np.abs(real)),
            **{
                "one multiplier": saturate(rint(F(c - zx) * (sx / sy)) + zy, lo, hi),
                "half away from zero": saturate(half_away((F(c - zx) * sx) / sy) + zy, lo, hi),
                "zero point first": saturate(rint((F(c - zx) * sx) / sy + F(zy)), lo, hi),
            },
        )
    evidence.close()


# ---- N6, N7 --------------------------------------------------------------------------------------------------------


def fma(x, y, z):
    """fp64 fused enough for the wrong variants: 9 x 24 bits are exact, the sum is rounded twice."""
    return F(x.astype(np.float64) * np.float64(y) + np.asarray(z, np.float64))


def binary(op, rule, name, seed):
    evidence = Evidence(name)
    rng = np.random.default_rng(seed)
    for i in range(24):
        dtype = (U8, S8)[i % 2]
        lo, hi = limits(dtype)
        sc = scale(rng, -6, 2)
        if i % 6 == 5:
            sa, sb = scale(rng, -6, 2), scale(rng, -6, 2)
        elif op == "Add":
            sa, sb = nudge(rng, F(sc * F(tie_ratio(rng)))), nudge(rng, F(sc * F(tie_ratio(rng))))
        else:
            sa = scale(rng, -6, 2)
            sb = nudge(rng, F(F(tie_ratio(rng, 5, 8)) * sc / sa))
        za, zb, zc = (zero_point(rng, dtype) for _ in range(3))
        codes = np.arange(lo, hi + 1, dtype=np.int64)
        a, b = (v.reshape(-1) for v in np.meshgrid(codes, codes, indexing="ij"))
        shape = i % 4  # 0, 1: both tensors; 2: b is a scalar; 3: a is a scalar
        g = Graph()
        na = g.dequantize(g.input(dtype, [1] if shape == 3 else [None]), sa, dtype(za))
        nb = g.dequantize(g.input(dtype, [1] if shape == 2 else [None]), sb, dtype(zb))
        g.output(g.quantize(g.node(op, [na, nb]), sc, dtype(zc)), dtype)
        session = g.session("QLinear" + op, [op])
        if shape < 2:
            theirs = run(session, a.astype(dtype), b.astype(dtype))
        else:
            runs = []
            for code in codes:
                one = np.array([code], dtype)
                runs.append(
                    run(session, codes.astype(dtype), one) if shape == 2 else run(session, one, codes.astype(dtype))
                )
            theirs = np.concatenate(runs)
            a, b = np.tile(codes, 256), np.repeat(codes, 256)
            if shape == 3:
                a, b = b, a
        # A scalar takes role b: then the operands change places, constants included.
        swap = shape == 3
        first, second = ((b, sb, zb), (a, sa, za)) if swap else ((a, sa, za), (b, sb, zb))
        ours = evaluate(rule, first[0], second[0], first[1], first[2], second[1], second[2], sc, zc, lo, hi)
        (p, sp, zp), (q, sq, zq) = first, second
        if op == "Add":
            rp, rq = sp / sc, sq / sc
            f = F(zc) - fma(rp, zp, rq * F(zq))
            real = p * np.float64(rp) + (q * np.float64(rq) + np.float64(f))
            big = np.maximum(np.abs(real), np.maximum(np.abs(p * np.float64(rp)), np.abs(np.float64(f))))
            plain_f = F(zc) - F(rp * F(zp) + F(rq * F(zq)))
            variants = {
                "no fma outside": saturate(rint(F(p) * rp + fma(q, rq, f)), lo, hi),
                "no fma inside": saturate(rint(fma(p, rp, F(q) * rq + f)), lo, hi),
                "no fma in F": saturate(rint(fma(p, rp, fma(q, rq, plain_f))), lo, hi),
                "DQ, add, Q": saturate(rint((F(p - zp) * sp + F(q - zq) * sq) / sc) + zc, lo, hi),
                "half away from zero": saturate(half_away(fma(p, rp, fma(q, rq, f))), lo, hi),
                "operands swapped": evaluate(rule, q, p, sq, zq, sp, zp, sc, zc, lo, hi),
            }
        else:
            r = (sp * sq) / sc
            product = (p - zp) * (q - zq)
            real = product * np.float64(r) + zc
            big = np.abs(product * np.float64(r))
            v = F(product) * r
            variants = {
                "fma": saturate(rint(F(real)), lo, hi),
                "sa (sb / sc)": saturate(rint(F(product) * (sp * (sq / sc)) + F(zc)), lo, hi),
                "zero point after": saturate(rint(v) + zc, lo, hi),
                "half away from zero": saturate(half_away(v + F(zc)), lo, hi),
                "DQ, multiply, Q": saturate(rint(((F(p - zp) * sp) * (F(q - zq) * sq)) / sc) + zc, lo, hi),
            }
        evidence.add(ours, theirs, near_ties(real, big), **variants)
    evidence.close()


def add():
    binary("Add", "add", "N6 QLinearAdd", 11)


def mul():
    binary("Mul", "mul", "N7 QLinearMul", 12)


# ---- N8 ------------------------------------------------------------------------------------------------------------


def global_average():
    evidence = Evidence("N8 QLinearGlobalAveragePool")
    rng = np.random.default_rng(13)
    for i in range(48):
        dtype = (U8, S8)[i % 2]
        lo, hi = limits(dtype)
        height, width = [(1, 1), (2, 2), (3, 5), (7, 7), (4, 6), (5, 3)][i % 6]
        n, channels = height * width, 22_000
        zx, zy, sx = zero_point(rng, dtype), zero_point(rng, dtype), scale(rng)
        # The multiplier near odd / 2^j, or such that one accumulator, which many images then have, falls on a tie.
        common = int(rng.integers(1, 120 * n))
        ratio = tie_ratio(rng) if i % 3 else (int(rng.integers(0, 250)) + 0.5) / common
        sy = nudge(rng, F(sx / F(ratio) / F(n)))
        m = sx / (sy * F(n))
        spread = np.maximum(
            1, np.minimum(255, rng.integers(1, 256, (channels, 1, 1)) * min(1.0, 200 / float(m) / n / 255))
        ).astype(int)
        x = np.clip(zx + rng.integers(-255, 256, (channels, height, width)) % (2 * spread + 1) - spread, lo, hi).astype(
            dtype
        )
        if i % 3 == 0:
            sign = 1 if hi - zx >= zx - lo else -1
            level, extra = divmod(common, n)
            same = np.full((channels // 2, n), zx + sign * level)
            same[:, :extra] += sign
            x[: channels // 2] = np.clip(rng.permuted(same, axis=1), lo, hi).reshape(-1, height, width).astype(dtype)
        acc = x.astype(np.int64).sum((1, 2)) - n * zx
        g = Graph()
        d = g.dequantize(g.input(dtype, [1, channels, height, width]), sx, dtype(zx))
        if i % 8 == 7:  # a window that covers the image takes the same path
            y = g.node("AveragePool", [d], kernel_shape=[height, width])
            kernel = "QLinearAveragePool"
        else:
            y, kernel = g.node("GlobalAveragePool", [d]), "QLinearGlobalAveragePool"
        g.output(g.quantize(y, sy, dtype(zy)), dtype)
        theirs = run(g.session(kernel, ["GlobalAveragePool", "AveragePool"]), x[None])
        ours = evaluate("global_average", acc, sx, sy, n, zy, lo, hi)
        exact = acc * np.float64(m)
        other = (sx / sy) / F(n)
        v = F(acc) * m
        evidence.add(
            ours,
            theirs,
            near_ties(exact, np.abs(exact)),
            **{
                "half away from zero": saturate(half_away(v) + zy, lo, hi),
                "zero point first": saturate(rint(v + F(zy)), lo, hi),
                "product not rounded": saturate(rint(acc * np.float64(m)) + zy, lo, hi),
                "(sx / sy) / n": saturate(rint(F(acc) * other) + zy, lo, hi),
            },
        )
    evidence.close()


def pool_windows(x, kernel, stride, pads, ceil_mode, include_pad, absent):
    """x [C, H, W]; returns codes [windows, k * k] with `absent` outside the image, and the divisor of each window."""
    channels, height, width = x.shape
    begin, end = pads

    def out(size):
        span = size + begin + end - kernel
        n = (-(-span // stride) if ceil_mode else span // stride) + 1
        if ceil_mode and (n - 1) * stride >= size + begin:
            n -= 1
        return n

    oh, ow = out(height), out(width)
    canvas = np.full(
        (channels, (oh - 1) * stride + kernel + begin, (ow - 1) * stride + kernel + begin), absent, np.int64
    )
    h, w = min(height, canvas.shape[1] - begin), min(width, canvas.shape[2] - begin)
    canvas[:, begin : begin + h, begin : begin + w] = x[:, :h, :w]
    view = np.lib.stride_tricks.sliding_window_view(canvas, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride][
        :, :oh, :ow
    ]
    codes = view.reshape(channels * oh * ow, kernel * kernel)
    inside = (codes != absent).sum(1)
    divisor = np.full_like(inside, kernel * kernel) if include_pad else inside
    return codes, divisor


def average_pool():
    evidence = Evidence("N8 QLinearAveragePool, windowed")
    rng = np.random.default_rng(14)
    absent = 10_000
    for i in range(60):
        dtype = (U8, S8)[i % 2]
        lo, hi = limits(dtype)
        kernel, stride, pads, ceil_mode, include = [
            (2, 2, (0, 0), 0, 0),
            (3, 1, (1, 1), 0, 1),
            (3, 2, (1, 1), 0, 0),
            (3, 2, (0, 0), 1, 1),
            (4, 2, (1, 1), 1, 0),
            (2, 1, (0, 0), 0, 0),
            (3, 2, (1, 1), 1, 1),
        ][i % 7]
        channels, height, width = 256, 18, 17
        zx, zy, sx = zero_point(rng, dtype), zero_point(rng, dtype), scale(rng)
        sy = nudge(rng, F(sx / F(tie_ratio(rng, 2, 2)) / F(kernel * kernel)))
        if i % 5 == 0:
            sy = F(sx * F(rng.uniform(0.3, 3)))
        reach = max(1, int(min(255, 160 * float(sy) / float(sx))))
        x = np.clip(zx + rng.integers(-reach, reach + 1, (channels, height, width)), lo, hi)
        g = Graph()
        d = g.dequantize(g.input(dtype, [1, channels, height, width]), sx, dtype(zx))
        y = g.node(
            "AveragePool",
            [d],
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[pads[0]] * 2 + [pads[1]] * 2,
            ceil_mode=ceil_mode,
            count_include_pad=include,
        )
        g.output(g.quantize(y, sy, dtype(zy)), dtype)
        theirs = run(g.session("QLinearAveragePool", ["AveragePool"]), x[None].astype(dtype)).reshape(-1)
        codes, divisor = pool_windows(x, kernel, stride, pads, ceil_mode, include, absent)
        if len(codes) != theirs.size:
            raise SystemExit(f"N8: ONNX Runtime gives {theirs.size} windows, the rule {len(codes)}")
        for count in np.unique(divisor):
            pick = divisor == count
            c = codes[pick]
            ours = evaluate("average_window", c, kernel * kernel, sx, zx, count, sy, zy, lo, hi, absent)
            term = np.where(c == absent, F(0), F(c - zx) * sx)
            total = F(0)
            for k in range(c.shape[1]):
                total = total + term[:, k]
            acc = np.where(c == absent, 0, c - zx).sum(1)
            real = acc * np.float64(sx) / count / np.float64(sy) + zy
            mean = total / F(count)
            evidence.add(
                ours,
                theirs[pick],
                near_ties(real, np.abs(real - zy)),
                **{
                    "integer sum": saturate(rint(F(acc) * (sx / (sy * F(count)))) + zy, lo, hi),
                    "sum in fp64": saturate(
                        rint(F(F(F(term.astype(np.float64).sum(1)) / F(count)) / sy) + F(zy)), lo, hi
                    ),
                    "reciprocal of the count": saturate(rint((total * (F(1) / F(count))) / sy + F(zy)), lo, hi),
                    "zero point after": saturate(rint(mean / sy) + zy, lo, hi),
                    "half away from zero": saturate(half_away(mean / sy + F(zy)), lo, hi),
                },
            )
    evidence.close()


# ---- N10, N11, N13 -------------------------------------------------------------------------------------------------


def softmax_levels(x, table, levels, fp64_sum=False, division_first=False):
    """N10 before RN, row by row; the keywords are the wrong variants."""
    t = table[x - x.max(1, keepdims=True) + 255]
    total = np.zeros((len(x), 1), np.float64 if fp64_sum else F)
    for column in range(x.shape[1]):
        total = total + t[:, column : column + 1]
    return t * (levels / F(total)) if division_first else (t * levels) / F(total)


def softmax_table(sx, length, fp64_log=False):
    quotient = F(np.finfo(F).max) / F(length)
    headroom = np.log(np.float64(quotient)) if fp64_log else np.float64(np.log(quotient))
    shift = max(0.0, headroom - 5) / np.float64(sx)
    return F(np.exp((np.arange(256.0) - 255 + shift) * np.float64(sx)))


def qsoftmax():
    evidence = Evidence("N10 QLinearSoftmax")
    rng = np.random.default_rng(15)
    for dtype in (U8, S8):
        lo, hi = limits(dtype)
        q = Graph()
        d = q.dequantize(q.input(dtype, [4, 10]), F(0.1), dtype(3))
        q.output(q.quantize(q.node("Softmax", [d], axis=-1), F(1 / 256), dtype(lo)), dtype)
        run(q.session("QLinearSoftmax", ["Softmax"]), np.full((4, 10), 3, dtype))
        for length in (4, 10, 50, 333, 1000):
            for sy in (F(1 / 256), F(1 / 255), F(0.002)):
                g = Graph()
                names = [g.input(dtype, [None, length]), g.input(F, []), g.constant(dtype(0)), g.constant(sy)]
                zy = lo if sy > 0.003 else lo + 3
                names.append(g.constant(dtype(zy)))
                g.output(g.node("QLinearSoftmax", names, domain="com.microsoft", axis=-1, opset=13), dtype)
                session = g.session()
                levels = np.floor(F(1) / sy)
                for _ in range(9):
                    rows = max(1, 5000 // length)
                    # Some elements have the greatest code and the others lie k below, with sx such that either
                    # kind gives a tie.
                    top = int(rng.integers(1, length))
                    rest = length - top
                    k = int(rng.integers(1, 100))
                    if top < rest and levels / rest > 0.6:
                        target = rng.integers(0, int(levels / length - 0.5) + 1) + 0.5
                        ratio = top * target / (levels - rest * target)
                    else:
                        target = rng.integers(0, max(1, int(levels / top) - 1) + 1) + 0.5
                        ratio = (levels / target - top) / rest
                    sx = F(-np.log(ratio) / k) if 1e-6 < ratio < 1 else scale(rng, -8, -1)
                    sx = nudge(rng, sx, 2)
                    high = int(rng.integers(lo + k, hi + 1))
                    x = np.full((rows, length), high - k)
                    x[:, :top] = high
                    x = rng.permuted(x, axis=1)
                    random_rows = rows // 10
                    x[:random_rows] = rng.integers(lo, hi + 1, (random_rows, length))
                    theirs = run(session, x.astype(dtype), sx)
                    ours = evaluate("qsoftmax", x, length, sx, sy, zy, lo, hi)
                    e = np.exp((x - x.max(1, keepdims=True)) * np.float64(sx))
                    real = (e / e.sum(1, keepdims=True) * levels).reshape(-1)
                    table = softmax_table(sx, length)
                    wrong = {
                        "logarithm in fp64": softmax_levels(x, softmax_table(sx, length, fp64_log=True), levels),
                        "sum in fp64": softmax_levels(x, table, levels, fp64_sum=True),
                        "division first": softmax_levels(x, table, levels, division_first=True),
                        "1 / sy not floored": softmax_levels(x, table, F(1) / sy),
                    }
                    wrong = {name: np.minimum(rint(v) + zy, hi) for name, v in wrong.items()}
                    wrong["half away from zero"] = np.minimum(half_away(softmax_levels(x, table, levels)) + zy, hi)
                    evidence.add(ours, theirs, near_ties(real, np.abs(real)), **wrong)
    evidence.close()


def float_results():
    evidence = Evidence("N11 MatMulIntegerToFloat")
    rng = np.random.default_rng(16)
    for i in range(8):
        at, bt = [(U8, S8), (U8, U8), (S8, S8)][i % 3]
        rows, k, columns = 32, 600, 4000
        za, zb = zero_point(rng, at), zero_point(rng, bt) if bt is U8 else 0
        sa, sb = scale(rng), scale(rng, -8, 2, columns)
        a = rng.integers(*limits(at), (rows, k)).astype(at)
        b = rng.integers(*limits(bt), (k, columns)).astype(bt)
        g = Graph()
        ad = g.dequantize(g.input(at, [rows, k]), sa, at(za))
        bd = g.dequantize(g.constant(b), sb, np.full(columns, zb, bt), axis=1)
        g.output(g.node("MatMul", [ad, bd]), F)
        theirs = run(g.session("MatMulIntegerToFloat", ["MatMul"]), a)
        acc = ((a.astype(np.float64) - za) @ (b.astype(np.float64) - zb)).astype(np.int64).reshape(-1)
        s = np.tile(sb, rows)
        evidence.add(
            evaluate("matmul_float", acc, sa, s),
            theirs,
            **{"(acc sa) sb": (F(acc) * sa) * s, "one rounding": F(acc.astype(np.float64) * np.float64(sa) * s)},
        )
    evidence.close(near_share=0)

    evidence = Evidence("N11 QGemm without Q")
    for i in range(6):
        at, bt = [(U8, S8), (U8, U8), (S8, S8)][i % 3]
        alpha = float(F(rng.uniform(0.3, 3))) if i % 2 else 1.0
        rows, k, columns = 10, 5, 20_000
        za, zb = zero_point(rng, at), zero_point(rng, bt) if bt is U8 else 0
        sa, sb = scale(rng), scale(rng, -8, 2, columns)
        a = rng.integers(*limits(at), (rows, k)).astype(at)
        b = rng.integers(*limits(bt), (k, columns)).astype(bt)
        bias_code = rng.integers(-(2**30), 2**30, columns).astype(np.int32)
        theirs = run(gemm_session(at, bt, [rows, k], b, alpha, sa, za, sb, zb, bias_code), a)
        acc = ((a.astype(np.float64) - za) @ (b.astype(np.float64) - zb)).astype(np.int64) + bias_code
        flat, s = acc.reshape(-1), np.tile(sb, rows)
        late_bias = np.tile(bias_code, rows).astype(np.int64)
        evidence.add(
            evaluate("gemm_float", flat, F(alpha), sa, s),
            theirs,
            **{
                "alpha last": F(flat) * ((sa * s) * F(alpha)),
                "bias after": (F(flat - late_bias) + F(late_bias)) * ((F(alpha) * sa) * s),
                "one rounding": F(flat * np.float64((F(alpha) * sa) * s)),
            },
        )
    evidence.close(near_share=0)


def softmax():
    """N13, our own rule: at most 1e-4 of the greatest magnitude, and at most one code after any 8-bit Q."""
    rng = np.random.default_rng(17)
    worst, codes_apart, differing, total = 0.0, 0, 0, 0
    for length in (2, 5, 10, 64, 197, 1000):
        for spread in (0.1, 1, 5, 30):
            x = (rng.standard_normal((45_000 // length, length)) * spread).astype(F)
            g = Graph()
            g.output(g.node("Softmax", [g.input(F, [None, length])], axis=-1), F)
            theirs = run(g.session(), x).reshape(-1)
            ours = evaluate("softmax", x, length)
            worst = max(worst, float(np.abs(ours - theirs).max() / theirs.max()))
            a, b = (evaluate("quantize", v, F(1 / 255), 0, 0, 255) for v in (ours, theirs))
            codes_apart = max(codes_apart, int(np.abs(a - b).max()))
            differing += int(np.count_nonzero(a != b))
            total += a.size
    ok = worst <= 1e-4 and codes_apart <= 1 and total >= MILLION
    print(
        f"{'ok  ' if ok else 'FAIL'} N13 Softmax: {total} outputs, relative difference at most {worst:.2e}, "
        f"{differing} codes differ, "
        f"at most by {codes_apart}",
        flush=True,
    )
    if not ok:
        FAILURES.append("N13 Softmax: outside its bound")


def batch_normalization():
    """N13, our own rule: equal where the parameters are drawn at random, at most one code apart where many values are ties."""
    rng = np.random.default_rng(18)
    channels, epsilon = 64, F(1e-5)
    # What differs, of how many outputs: parameters at random, and such that many values lie beside a tie.
    differing, outputs, apart, near = [0, 0], [0, 0], 0, 0
    variants = {}
    for i in range(160):
        ties = i % 8 == 7
        types = (U8, S8)[i % 2], (U8, S8)[(i // 2) % 2]
        (lo, hi), (first, last) = limits(types[1]), limits(types[0])
        sx, zx, zy = scale(rng, -8, 0), zero_point(rng, types[0]), zero_point(rng, types[1])
        sy = F(sx * F(2.0 ** rng.uniform(-1, 2)))
        variance = rng.uniform(0.05, 3, channels).astype(F)
        gain = (rng.uniform(0.1, 2, channels) * rng.choice([-1, 1], channels)).astype(F)
        mean, bias = (rng.normal(0, 1, channels).astype(F) for _ in range(2))
        deviation = np.sqrt(variance.astype(np.float64) + np.float64(epsilon))
        if ties:
            ratio = np.array([tie_ratio(rng, 2) for _ in range(channels)])
            gain = nudge(rng, (ratio * np.float64(sy) / np.float64(sx) * deviation).astype(F), 2)
            steps = rng.integers(-200, 200, channels) / 4
            bias = nudge(rng, (mean * (gain / deviation) + steps * np.float64(sy)).astype(F), 2)
        parameters = [gain, bias, mean, variance]
        g = Graph()
        values = [g.constant(v) for v in parameters]
        if i % 4 == 1:  # the forms that quantizers make: int8 scale, int32 B
            s, t = F(np.abs(gain).max() / 127), F(sx * F(0.01))
            codes = np.clip(np.rint(gain / s), -127, 127).astype(np.int8), np.rint(bias / t).astype(np.int32)
            parameters[:2] = codes[0].astype(F) * s, codes[1].astype(F) * t
            values[0] = g.dequantize(g.constant(codes[0]), s, np.int8(0))
            values[1] = g.dequantize(g.constant(codes[1]), t, np.int32(0))
        x = g.dequantize(g.input(types[0], [1, channels, 1, 256]), sx, types[0](zx))
        y = g.node("BatchNormalization", [x, *values], epsilon=float(epsilon))
        g.output(g.quantize(y, sy, types[1](zy)), types[1])
        q = np.broadcast_to(np.arange(first, last + 1), (channels, 256))
        theirs = run(g.session(), q[None, :, None].astype(types[0])).reshape(-1).astype(np.int64)
        q = q.reshape(-1)
        rows = [np.repeat(v, 256) for v in parameters]
        ours = evaluate("affine", q, *rows, epsilon, sx, zx, sy, zy, lo, hi, first, last)
        difference = np.abs(ours - theirs)
        apart = max(apart, int(difference.max()))
        differing[ties] += int(np.count_nonzero(difference))
        outputs[ties] += q.size
        k = rows[0] / np.sqrt(rows[3].astype(np.float64) + np.float64(epsilon))
        a = k * np.float64(sx) / np.float64(sy)
        f = (rows[1] - rows[2] * k) / np.float64(sy) + zy - zx * a
        real = q * a + f
        near += int(np.count_nonzero(near_ties(real, np.maximum(np.abs(q * a), np.abs(f)))))
        a32 = a.astype(F).astype(np.float64)
        f32 = ((rows[1] - rows[2] * k) / np.float64(sy) + zy - zx * a32).astype(F)
        half = F(2.0**-16) * F(2.0) ** np.ceil(np.log2(np.abs(a)))
        for name, wrong in {
            "nearest constants, not tried": fma(q, a32, f32),
            "no epsilon": q * (rows[0] / np.sqrt(rows[3].astype(np.float64)) * np.float64(sx) / np.float64(sy)) + f,
            "A of 16 bits": q * (np.rint(a / half) * half) + f,
            "F rounded to an integer": q * a + np.rint(f),
            "zero point of the input ignored": real + zx * a,
            "truncated": np.trunc(real),
        }.items():
            count = np.count_nonzero(saturate(rint(wrong), lo, hi) != theirs)
            variants[name] = variants.get(name, 0) + (0 if ties else int(count))
    caught = all(variants.values())
    ok = apart <= 1 and differing[0] == 0 and outputs[0] >= MILLION and near * 10 >= outputs[1] and caught
    print(
        f"{'ok  ' if ok else 'FAIL'} N13 BatchNormalization: {sum(outputs)} outputs, {near} near ties; at most {apart} apart: "
        f"{differing[0]} of {outputs[0]} with random parameters, {differing[1]} of {outputs[1]} beside ties; "
        f"wrong variants: {', '.join(f'{name} {count}' for name, count in variants.items())}",
        flush=True,
    )
    if not ok:
        FAILURES.append("N13 BatchNormalization: outside its bound")


ALL = [
    conv,
    bias,
    bias_scale,
    gemm,
    matmul,
    quantize,
    dynamic,
    polynomials,
    tables,
    functions,
    concat,
    add,
    mul,
    global_average,
    average_pool,
    qsoftmax,
    float_results,
    softmax,
    batch_normalization,
]


def main():
    global EVAL
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("eval", help="the octile_numerics_eval program")
    parser.add_argument("--only", default="", help="run only the rules whose function name contains this")
    arguments = parser.parse_args()
    EVAL = arguments.eval
    print(f"ONNX Runtime {ort.__version__}")
    for rule in ALL:
        if arguments.only in rule.__name__:
            rule()
    for failure in FAILURES:
        print("FAIL", failure, file=sys.stderr)
    return 1 if FAILURES else 0


if __name__ == "__main__":
    sys.exit(main())

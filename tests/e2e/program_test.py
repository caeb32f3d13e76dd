"""What the program does with wrong arguments, wrong files, wrong devices: exit codes and messages of docs/cli.md."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import numpy as np
import onnx
from onnx import helper, numpy_helper

OCTILE = os.environ["OCTILE"]
MODELS = pathlib.Path(os.environ["MODELS"])


def run(*arguments, timeout=120):
    return subprocess.run([OCTILE, *map(str, arguments)], capture_output=True, text=True, timeout=timeout, check=False)


class ProgramTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def expect(self, code, *arguments, says=()):
        done = run(*arguments)
        self.assertEqual(done.returncode, code, f"{arguments}\n{done.stdout}\n{done.stderr}")
        for text in says:
            self.assertIn(text, done.stderr)
        return done

    def test_usage(self):
        self.expect(2)
        self.expect(2, "run")
        self.expect(2, "fly")
        self.expect(2, "run", MODELS / "mlp.onnx", "--device", "gpu", says=["'gpu'"])
        self.expect(2, "run", MODELS / "mlp.onnx", "--device", "iss,iss", says=["twice"])
        self.expect(2, "run", MODELS / "mlp.onnx", "--input", "features", says=["NAME=VALUE"])
        self.expect(2, "run", MODELS / "mlp.onnx", "--shape", "features=1x-3", says=["1x3x224x224"])
        self.expect(2, "run", MODELS / "mlp.onnx", "--device", "iss", "--wave", self.folder / "w.fst", says=["rtl"])
        self.assertEqual(run("--help").returncode, 0)
        self.assertEqual(run("--version").returncode, 0)

    def test_inputs(self):
        wrong = self.folder / "wrong.npy"
        np.save(wrong, np.zeros((1, 7), np.float32))
        self.expect(2, "run", MODELS / "mlp.onnx", "--device", "iss", "--input", f"features={wrong}", says=["features"])
        np.save(wrong, np.zeros((1, 100), np.float64))
        self.expect(2, "run", MODELS / "mlp.onnx", "--device", "iss", "--input", f"features={wrong}", says=["f64", "f32"])
        np.save(wrong, np.zeros((1, 100), np.float32))
        self.expect(2, "run", MODELS / "mlp.onnx", "--device", "iss", "--input", f"nobody={wrong}", says=["nobody", "features"])
        wrong.write_bytes(b"\x93NUMPY\x01\x00garbage")
        done = run("run", MODELS / "mlp.onnx", "--device", "iss", "--input", f"features={wrong}")
        self.assertIn(done.returncode, (2, 3))
        self.assertIn("wrong.npy", done.stderr)

    def test_models(self):
        self.expect(3, "run", self.folder / "absent.onnx", "--device", "iss", says=["absent.onnx"])
        broken = self.folder / "broken.onnx"
        broken.write_bytes((MODELS / "mlp.onnx").read_bytes()[:1000])
        report = self.folder / "report.json"
        self.expect(3, "run", broken, "--device", "iss", "--report", report, says=["broken.onnx"])
        self.assertEqual(json.loads(report.read_text())["error"]["exit_code"], 3)

    def test_a_bad_scale_is_named(self):
        model = onnx.load(MODELS / "resnet_tiny.onnx")
        quantize = next(n for n in model.graph.node if n.op_type == "QuantizeLinear")
        scale = next(i for i in model.graph.initializer if i.name == quantize.input[1])
        scale.CopyFrom(numpy_helper.from_array(np.array(0, np.float32), scale.name))
        onnx.save(model, self.folder / "scale.onnx")
        self.expect(3, "run", self.folder / "scale.onnx", "--device", "iss", says=[quantize.name, "the quantization scale is 0"])

    def test_host_steps_and_require_device(self):
        report = self.folder / "report.json"
        self.expect(0, "run", MODELS / "mlp.onnx", "--device", "iss", "--report", report)
        hosts = json.loads(report.read_text())["host_operators"]
        self.assertEqual(len(hosts), 1)
        self.assertIn("Softmax", hosts[0]["name"])
        self.assertTrue(hosts[0]["reason"])
        self.expect(3, "run", MODELS / "mlp.onnx", "--device", "iss", "--require-device", says=["Softmax"])
        self.expect(0, "run", MODELS / "resnet_tiny.onnx", "--device", "iss", "--require-device")

    def test_compiled_programs(self):
        program = self.folder / "net.octile"
        again = self.folder / "again.octile"
        self.expect(0, "compile", MODELS / "resnet_tiny.onnx", "-o", program, "--config", "small")
        self.expect(0, "compile", MODELS / "resnet_tiny.onnx", "-o", again, "--config", "small")
        self.assertEqual(program.read_bytes(), again.read_bytes())
        first = self.folder / "a.json"
        second = self.folder / "b.json"
        self.expect(0, "run", program, "--device", "systemc", "--report", first, "--seed", "5")
        self.expect(0, "run", MODELS / "resnet_tiny.onnx", "--config", "small", "--device", "systemc", "--report", second, "--seed", "5")
        a, b = json.loads(first.read_text()), json.loads(second.read_text())
        self.assertEqual(a["devices"][0]["cycles"], b["devices"][0]["cycles"])
        self.expect(4, "run", program, "--config", "base", "--device", "iss", says=["n=8", "n=16"])
        inspected = self.expect(0, "inspect", program).stdout
        self.assertIn("valid         yes", inspected)
        listing = self.expect(0, "disasm", program).stdout
        self.assertIn("mma", listing)
        self.assertIn("end", listing)
        # Damage anywhere is noticed.
        data = bytearray(program.read_bytes())
        for position in (3, 9, 13, 70, len(data) // 2, len(data) - 1):
            bad = bytearray(data)
            bad[position] ^= 0x10
            (self.folder / "bad.octile").write_bytes(bad)
            self.expect(4, "run", self.folder / "bad.octile", "--device", "iss", says=["bad.octile"])
        (self.folder / "bad.octile").write_bytes(data[: len(data) // 3])
        self.expect(4, "run", self.folder / "bad.octile", "--device", "iss", says=["bad.octile"])

    def test_standard_output_that_cannot_be_written(self):
        self.expect(0, "compile", MODELS / "mlp.onnx", "-o", self.folder / "p.octile")
        for arguments in (("run", MODELS / "mlp.onnx", "--device", "iss"), ("compile", MODELS / "mlp.onnx", "-o", self.folder / "q.octile"),
                          ("inspect", self.folder / "p.octile"), ("disasm", self.folder / "p.octile"), ("ops",), ("devices",), ("--help",),
                          ("--version",)):
            with self.subTest(arguments=arguments):
                with open("/dev/full", "wb") as full:
                    done = subprocess.run([OCTILE, *map(str, arguments)], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn("standard output", done.stderr)
                # A reader that is gone.
                reader, writer = os.pipe()
                os.close(reader)
                done = subprocess.run([OCTILE, *map(str, arguments)], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
                os.close(writer)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn("standard output", done.stderr)

    def test_files_that_cannot_be_written(self):
        missing = self.folder / "missing"
        for arguments in (("run", MODELS / "mlp.onnx", "--device", "iss", "--report", missing / "r.json"),
                          ("run", MODELS / "mlp.onnx", "--device", "iss", "--report", "/dev/full"),
                          ("run", MODELS / "mlp.onnx", "--device", "iss", "--output-dir", MODELS / "mlp.onnx" / "out"),
                          ("compile", MODELS / "mlp.onnx", "-o", missing / "p.octile"),
                          ("compile", MODELS / "mlp.onnx", "-o", "/dev/full")):
            with self.subTest(arguments=arguments):
                done = run(*arguments)
                self.assertIn(done.returncode, (2, 4), done.stderr)
                self.assertIn(str(arguments[-1]), done.stderr)
        # What is no file stays what it is.
        self.expect(0, "compile", MODELS / "mlp.onnx", "-o", "/dev/null")
        self.assertTrue(pathlib.Path("/dev/null").is_char_device())
        # A link stays a link.
        (self.folder / "real.json").write_text("old")
        (self.folder / "link.json").symlink_to("real.json")
        self.expect(0, "run", MODELS / "mlp.onnx", "--device", "iss", "--report", self.folder / "link.json")
        self.assertTrue((self.folder / "link.json").is_symlink())
        self.assertEqual(json.loads((self.folder / "real.json").read_text())["model"], "mlp")

    def test_options_of_devices(self):
        for device, name in (("systemc?flip=zzz", "flip"), ("iss?flip=zzz", "flip"), ("systemc?memory=5", "memory"), ("systemc?speed=9", "speed"),
                             ("systemc?flip", "flip"), ("systemc?wave=w.fst", "wave")):
            with self.subTest(device=device):
                done = self.expect(2, "run", MODELS / "mlp.onnx", "--device", device, "--config", "tiny", says=[f"'{name}"])
                self.assertNotIn("lost", done.stderr)

    def test_configurations_that_cannot_run_anything(self):
        config = self.folder / "c.yml"
        config.write_text("arch: {n: 4, weight_rows: 2, ring_tiles: 32, acc_depth: 100, banks: 1, bank_depth: 256, psets: 20, wrows: 64, "
                          "read_bursts: 4, write_bursts: 2}\n")
        self.expect(4, "run", MODELS / "mlp.onnx", "--device", "iss", "--config", config, says=["c.yml", "banks", "nothing can run"])

    def test_bit_flip_is_found_and_named(self):
        # Region 1 holds weights and parameters: a wrong weight changes a result on this device alone.
        found = 0
        for offset in (300, 1100, 2200, 4097):
            done = run("run", MODELS / "resnet_tiny.onnx", "--device", f"iss,systemc?flip=1:{offset}:6")
            if done.returncode == 0:
                continue  # a weight of a padded lane
            found += 1
            self.assertEqual(done.returncode, 1, done.stderr)
            for text in ("systemc differs", "first wrong step", "tensor", "index", "expected", "got"):
                self.assertIn(text, done.stderr)
            self.assertNotIn("iss differs", done.stderr)
        self.assertGreaterEqual(found, 2)

    def test_devices_that_fail(self):
        start = time.monotonic()
        done = run("run", MODELS / "resnet_tiny.onnx", "--device", "systemc?die=2000")
        self.assertEqual(done.returncode, 5, done.stderr)
        done = run("run", MODELS / "resnet_tiny.onnx", "--device", "systemc?bus_read_error=20")
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertIn("BUS_READ", done.stderr)
        self.assertLess(time.monotonic() - start, 60)

    def test_memory_profile_changes_cycles_and_nothing_else(self):
        cycles = {}
        for latency in (20, 300):
            report = self.folder / f"{latency}.json"
            self.expect(0, "run", MODELS / "mobilenet_tiny.onnx", "--device", "systemc", "--report", report,
                        "--platform", f"read_latency={latency}", "--platform", "jitter=40")
            data = json.loads(report.read_text())
            cycles[latency] = data["devices"][0]["cycles"]
            self.assertIn(f"read_latency={latency}", data["config"]["platform"])
        self.assertLess(cycles[20], cycles[300])

    def test_outputs_and_clock(self):
        report = self.folder / "report.json"
        self.expect(0, "run", MODELS / "resnet_tiny.onnx", "--device", "iss,systemc", "--output-dir", self.folder / "out", "--clock", "500", "--report", report)
        for device in ("iss", "systemc", "reference"):
            self.assertEqual([f.name for f in (self.folder / "out" / device).iterdir()], ["scores.npy"])
        systemc = json.loads(report.read_text())["devices"][1]
        self.assertAlmostEqual(systemc["milliseconds"], systemc["cycles"] / 500e3)

    def test_interrupt(self):
        process = subprocess.Popen([OCTILE, "run", str(MODELS / "digits.onnx"), "--device", "systemc", "--config", "tiny",
                                    "--input", f"image={MODELS / 'digits_images.npy'}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, errors)

    def test_initializer_overridden_by_an_input(self):
        model = onnx.load(MODELS / "resnet_tiny.onnx")
        weight = next(i for i in model.graph.initializer if len(i.dims) == 4 and i.data_type == onnx.TensorProto.INT8)
        changed = np.flip(numpy_helper.to_array(weight), axis=1).copy()
        model.graph.input.append(helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
        onnx.save(model, self.folder / "listed.onnx")
        np.save(self.folder / "weight.npy", changed)
        weight.CopyFrom(numpy_helper.from_array(changed, weight.name))
        onnx.save(model, self.folder / "changed.onnx")
        outputs = {}
        for name, extra in (("changed", ()), ("listed", ()), ("overridden", ("--input", f"{weight.name}={self.folder / 'weight.npy'}"))):
            file = self.folder / ("changed.onnx" if name == "changed" else "listed.onnx")
            self.expect(0, "run", file, "--device", "iss", "--output-dir", self.folder / name, *extra)
            outputs[name] = np.load(self.folder / name / "iss" / "scores.npy")
        np.testing.assert_array_equal(outputs["overridden"], outputs["changed"])
        self.assertFalse(np.array_equal(outputs["listed"], outputs["changed"]))

    def test_lists(self):
        self.assertIn("Conv", self.expect(0, "ops").stdout)
        devices = self.expect(0, "devices").stdout
        for text in ("iss", "systemc", "rtl", "tiny", "large"):
            self.assertIn(text, devices)


if __name__ == "__main__":
    unittest.main()

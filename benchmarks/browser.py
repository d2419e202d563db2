"""The phone's half in Chromium beside LiteRT in Python, on one machine.

    python benchmarks/browser.py [--presets ...] [--batch 8] [--size 96]

The .tflite is the same, and so is the number of threads. LiteRT.js runs it in
a worker of a headless Chromium, with its arrays going there and back; LiteRT
in a process that never imports TensorFlow. The two take turns, so that a noisy
machine disturbs both alike; the ratio is the median of the ratios of pairs.
The page of these is the one of the tests, which is keras-split-client and
little else.

Then the page itself, before `keras-split serve PRESET --web`: how long after
the button its first step is done, for the first phone and for a second one,
whose server has traced its graphs.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from _report import Report
from _report import machine
from _report import write_option
from device import SIGNATURES
from device import Phone
from device import inputs

from tests.web.browser import WASM
from tests.web.browser import Browser
from tests.web.browser import PhoneBrowser
from tests.web.browser import build_page
from tests.web.browser import build_phone
from tests.web.served import WebProcess

_LITERT = ("litert_wasm_internal.js", "litert_wasm_internal.wasm")


def write_inputs(folder: Path, known: dict[str, Any]) -> None:
    """Arrays as the page reads them: one file, each from a multiple of 8."""
    described, payload = [], b""
    for name, value in known.items():
        array = np.asarray(value)
        payload += bytes(-len(payload) % 8)
        described.append(
            {
                "name": name,
                "dtype": array.dtype.name,
                "shape": array.shape,
                "from": len(payload),
                "size": array.size,
            }
        )
        payload += array.tobytes()
    (folder / "inputs.json").write_text(json.dumps(described))
    (folder / "inputs.bin").write_bytes(payload)


def measure(
    browser: PhoneBrowser,
    data: Path,
    preset: str,
    *,
    size: int,
    batch: int,
    pairs: int,
    threads: int,
) -> list[str]:
    """Times one preset; a row of the table."""
    import keras

    from keras_split import zoo

    client, _ = zoo.load(
        preset,
        input_shape=(size, size, 3),
        classes=10,
        seed=0,
        quantization="int8",
    )
    client.compile(
        keras.optimizers.SGD(1e-3, momentum=0.9),
        "sparse_categorical_crossentropy",
    )
    folder = data / preset
    folder.mkdir()
    about = client.export(folder / "client.tflite", batch_size=batch)
    known = inputs(about)
    write_inputs(folder, known)
    arrays = folder / "data.npz"
    np.savez(arrays, **known)
    browser.visit("http://localhost")
    loading_ms = browser.phone("load", f"/data/{preset}", threads)
    phone = Phone(folder / "client.tflite", arrays, threads)
    cells = [preset]
    for name in SIGNATURES:
        times: dict[str, list[float]] = {"browser": [], "python": []}
        runners = {
            "browser": lambda name=name: browser.phone("time", name),
            "python": lambda name=name: 1000 * phone.seconds(name),
        }
        for pair in range(pairs + 2):
            for who in list(runners)[:: 1 if pair % 2 else -1]:
                took = runners[who]()
                if pair >= 2:  # the first ones prepare
                    times[who].append(took)
        there, here = (np.array(times[who]) for who in runners)
        cells += [
            f"{np.median(there):.1f} / {np.median(here):.1f}",
            f"{np.median(there / here):.2f}",
        ]
    phone.peak_bytes()  # ends it
    kb = (folder / "client.tflite").stat().st_size / 1e3
    return [*cells, f"{loading_ms:.0f}", f"{kb:.0f}"]


def first_steps(page: Path, preset: str, size: int) -> list[str]:
    """Seconds from the button to the first step, of the page; a row."""
    cells = [preset]
    with WebProcess(
        preset, *("--input-size", size, "--batchnorm-momentum", 0.9)
    ).wait() as server:
        for _ in range(2):
            with Browser({"": page}) as browser:
                began = time.perf_counter()
                browser.open(url=f"http://localhost:{server.web_port}/")
                browser.wait(text="Show it things")
                ready_s = time.perf_counter() - began
                browser.run(script="document.querySelector('summary').click()")
                browser.click(name="Add 40 sample images")
                browser.wait(text="Added 40 images")
                began = time.perf_counter()
                browser.click(name="Train", exact=True)
                browser.wait(matches="^(Step [1-9]|Trained)", waitS=280)
                step_s = time.perf_counter() - began
                cells += [f"{ready_s:.1f}", f"{step_s:.1f}"]
    return cells


def main() -> None:
    """Prints the tables."""
    from keras_split import zoo

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="*", default=zoo.names("images"))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    write_option(parser)
    arguments = parser.parse_args()
    report = Report("browser", write=arguments.write)
    with tempfile.TemporaryDirectory() as folder:
        own, data, page = (Path(folder) / n for n in ("own", "data", "page"))
        data.mkdir()
        build_phone(own)
        build_page(page)
        lite = sum((WASM / name).stat().st_size for name in _LITERT)
        report.say(
            f"{machine()}, load {os.getloadavg()[0]:.1f} at the start, "
            f"ai-edge-litert {version('ai-edge-litert')}; "
            f"{arguments.size}x{arguments.size} images, batches of "
            f"{arguments.batch}, int8 on the link, SGD with momentum, "
            f"{arguments.threads} thread(s) on both sides, {arguments.pairs} "
            f"interleaved pairs. LiteRT.js is {lite / 1e6:.1f} MB, without "
            "compression; loading is that of the file and of LiteRT.js from "
            "this machine."
        )
        heads = [
            (f"{name} ms Chromium / Python:", "ratio:") for name in SIGNATURES
        ]
        report.header(
            "preset",
            *(column for pair in heads for column in pair),
            *("loading ms:", "file kB:"),
        )
        with PhoneBrowser(own, data) as browser:
            for preset in arguments.presets:
                report.row(
                    *measure(
                        browser,
                        data,
                        preset,
                        size=arguments.size,
                        batch=arguments.batch,
                        pairs=arguments.pairs,
                        threads=arguments.threads,
                    )
                )
        report.end()
        report.say(
            "The page before keras-split serve, in seconds: ready with an "
            "empty cache, and from the button to the first step. What the "
            "second phone does not wait for is the server's tracing."
        )
        report.header(
            "preset",
            *("ready s:", "first step s:"),
            *("second phone, ready s:", "its first step s:"),
        )
        for preset in arguments.presets:
            report.row(*first_steps(page, preset, arguments.size))
        report.end()
    report.close()


if __name__ == "__main__":
    main()

"""The recipe of the digits from scratch, as a user runs it: wall time and WER."""

import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.gpu.step import Step, scratch

MAIN = Path(__file__).resolve().parents[2] / "main_ctc.py"


def main() -> int:
    step = Step("digits", __doc__)
    recipe = ["--config", str(MAIN.parent / "configs" / "digits.yaml")]
    if step.is_dry:
        recipe += "--num_epochs 1 --nlayers_rnn 1 --nhidden_rnn 16 --nthreads 0".split()
    else:
        recipe += "--nthreads 14".split()
    common = ["--datasetroot", step.datasetroot, "--device", step.device.type]

    def seconds(*words) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, MAIN, *map(str, words)], check=True)
        return round(time.perf_counter() - started, 1)

    with scratch() as folder:
        train_s = seconds(
            "train", *recipe, *common, "--baselogdir", folder, "--logname", "digits"
        )
        lines = (folder / "digits" / "metrics.jsonl").read_text().splitlines()
        epochs = [json.loads(line) for line in lines]
        step.row(
            what="training", seconds=train_s, epochs=len(epochs),
            dev_wer_percent=round(100 * epochs[-1]["dev_wer"], 2),
            audio_s_per_s=round(epochs[-1]["audio_s_per_s"]),
            wait_percent=round(100 * epochs[-1]["data_wait_share"], 1),
        )  # fmt: skip
        model, report = folder / "digits" / "best_model.pt", folder / "report.json"
        on_device = [] if step.is_dry else ["--beam_device", "cuda"]
        ways = {
            "greedy": [],
            "beam of 100": ["--beamsearch", "--lm", "none"],
            "beam of 100, on the device": ["--beamsearch", "--lm", "none", *on_device],
        }
        for way, flags in ways.items():
            test_s = seconds(
                *("test", "--split", "test", "--lang", "en", "--modelpath", model),
                *common, *flags, "--json", report,
            )  # fmt: skip
            wer = json.loads(report.read_text())["wer"]["rate"]
            step.row(what=f"test, {way}", seconds=test_s, test_wer_percent=round(100 * wer, 2))
    return step.status


if __name__ == "__main__":
    sys.exit(main())

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

    def run(*words) -> tuple[float, str]:
        """Seconds that the command takes, and what it prints."""
        started = time.perf_counter()
        command = [sys.executable, MAIN, *map(str, words)]
        ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8")
        return round(time.perf_counter() - started, 1), ended.stdout

    with scratch() as folder:
        train_s, _ = run("train", *recipe, *common, "--baselogdir", folder, "--logname", "digits")
        lines = (folder / "digits" / "metrics.jsonl").read_text().splitlines()
        epochs = [json.loads(line) for line in lines]
        step.row(
            what="training", seconds=train_s, epochs=len(epochs),
            dev_wer_percent=round(100 * epochs[-1]["dev_wer"], 2),
            audio_s_per_s=round(epochs[-1]["audio_s_per_s"]),
            wait_percent=round(100 * epochs[-1]["data_wait_share"], 1),
        )  # fmt: skip
        model = folder / "digits" / "best_model.pt"
        ways = {
            "greedy": [],
            "beam search, compiled": "--beamsearch --lm none".split(),
            "beam search on the device": "--beamsearch --lm none --beam_device cuda".split(),
        }
        if step.is_dry:
            del ways["beam search on the device"]
        for way, flags in ways.items():
            test = ["test", "--split", "test", "--lang", "en", "--modelpath", model]
            test_s, report = run(*test, *common, *flags, "--json")
            wer = json.loads(report)["wer"]["rate"]
            step.row(what=f"test, {way}", seconds=test_s, test_wer_percent=round(100 * wer, 2))
    return step.status


if __name__ == "__main__":
    sys.exit(main())

"""Beam search of a batch of clips: compiled, in torch on the device, and torchaudio's for CUDA."""

import sys

import torch

from asr_ctc.base.processors import n_usable_cores
from benchmarks import beam_search
from benchmarks.gpu.step import Step


def main() -> int:
    step = Step("beam", __doc__)
    n_clips, widths = (2, (4,)) if step.is_dry else (beam_search.N_CLIPS, beam_search.BEAM_WIDTHS)
    if not step.is_dry:
        torch.set_num_threads(n_usable_cores())
    for beam_width in widths:
        clips, runs = beam_search.batch_runs(beam_width, step.device.type, n_clips)
        if not step.is_dry:
            try:
                logp = beam_search.on_device(clips, step.device.type)
                run = beam_search.torchaudio_cuda(logp, beam_width)
                run()
                runs["cuda_ctc_decoder"] = run
            except (ImportError, RuntimeError, OSError) as error:
                step.row(beam=beam_width, decoder="cuda_ctc_decoder", error=str(error)[:200])
        seconds, found = beam_search.fastest_times(runs)
        for name, labels in found.items():
            step.row(
                beam=beam_width,
                clips=n_clips,
                decoder=name,
                ms=round(1000 * seconds[name], 2),
                mean_logp=round(beam_search.mean_logp(clips, labels), 3),
            )
    return step.status


if __name__ == "__main__":
    sys.exit(main())

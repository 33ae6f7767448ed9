"""`train`: a model from a corpus."""

from asr_ctc.base.console import hide_writer_threads


def run_train(config, words, command) -> int:
    hide_writer_threads()
    if config.training.debug:
        from asr_ctc.training.overfit import overfit_one_batch

        return overfit_one_batch(config, command)
    from asr_ctc.training.loop import train

    return train(config, command)

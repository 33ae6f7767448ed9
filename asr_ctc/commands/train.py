"""`train`: a model from a corpus."""


def run_train(config, words, command) -> int:
    """Exit status 0; 1 when --debug fails; 130 after Ctrl-C, 143 after SIGTERM, as shells count."""
    if config.training.debug:
        from asr_ctc.training.overfit import overfit_one_batch

        result = overfit_one_batch(config)
        status = 0 if result.passed else 1
    else:
        from asr_ctc.training.loop import train

        result, status = train(config, command=command), 0
    return status if result.signal is None else 128 + result.signal

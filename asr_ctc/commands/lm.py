"""`lm`: estimates a language model from transcripts and texts; --tune finds its weights."""

import sys

from asr_ctc.base.printable import visible_text
from asr_ctc.commands.arguments import EVERY_CLIP, FIND_CORPUS, OF_UNITS, refuse_flags
from asr_ctc.config.flags import Command
from asr_ctc.config.load import Config
from asr_ctc.display.terminal import rates_text, several

N_NAMED = 8
OF_TUNING = (
    *("lm", "beamwidth", "unk_logp", "blank_penalty", "min_duration", "max_duration"),
    *("pretrained", "encoder_weights", "adapter"),
    *("device", "nthreads"),
)
OF_CHARSET = "charset", "profile", "case_folding", "charset_min_count"
OF_NEW_UNITS = tuple(name for name in OF_UNITS if name != "units")  # which a model file has
OF_ESTIMATION = (
    *("text", "word_list", "out", "order", "level", "prune", "lexicon_from"),
    *OF_CHARSET,
)


def run_lm(config: Config, words: list[str], command: list[str]) -> int:
    if config.lm.tune:
        refuse_flags(config, (*OF_ESTIMATION, *OF_NEW_UNITS), "have no effect with --tune")
        return tune(config)
    refuse_flags(config, OF_TUNING, "need --tune")
    if config.input.modelpath:
        refuse_flags(config, (*OF_CHARSET, *OF_NEW_UNITS), "have no effect with --modelpath")
    return estimate(config)


def estimate(config: Config) -> int:
    from asr_ctc.assembly.language_model import build_language_model

    built = build_language_model(config)
    print(f"note: words are spelt by {built.speller}", file=sys.stderr)
    unit = built.unit
    for source in built.sources:
        excluded = (
            f"; {source.n_excluded:,} more in dev or test excluded" if source.n_excluded else ""
        )
        print(
            f"{source.name}: {several(source.n_sentences, 'sentence')}, "
            f"{several(source.n_words, unit)}{excluded}"
        )
    if words := built.word_list:
        print(f"--word_list: {several(words.n_words, 'word')} that can be spelt")
        if words.n_elided:
            print(f"{words.n_elided:,} of them with {', '.join(words.proclitics)} as well")
    counts = [several(count, f"{n}-gram") for n, count in enumerate(built.model.counts, 1)]
    print(", ".join(counts))
    dev, share = built.dev, 100 * built.dev.n_unknown / max(built.dev.n_words, 1)
    print(
        f"perplexity of dev {dev.value:.1f} over its known {unit}s; {share:.1f} % of its "
        f"{several(dev.n_words, unit)} {'is' if dev.n_words == 1 else 'are'} unknown"
    )
    if built.lexicon is not None:
        n_words = len({word for word, _ in built.lexicon.pairs})
        print(f"lexicon: {several(n_words, 'word')}, {several(len(built.lexicon.pairs), 'pair')}")
        if built.unpronounced:
            print(
                f"{several(len(built.unpronounced), 'word')} without a pronunciation, not used: "
                + ", ".join(map(visible_text, built.unpronounced[:N_NAMED]))
            )
    print(f"written: {', '.join(map(str, built.paths))}")
    return 0


def tune(config: Config) -> int:
    from asr_ctc.assembly.tuning import LM_WEIGHTS, WORD_BONUSES, tune_language_model

    tuning = tune_language_model(config)
    greedy, best, weights = tuning.greedy, tuning.best, tuning.weights
    greedy_rates = rates_text(greedy.wer, greedy.cer, tuning.greedy_names)
    print(f"{several(tuning.n_clips, 'clip')} of dev, greedy: {greedy_rates}")
    for name, error_rates in tuning.error_rates.items():
        print(f"{name} in % with --unk_logp {weights.unk_logp:g}:")
        print("weight | bonus" + "".join(f"{bonus:8g}" for bonus in WORD_BONUSES))
        for weight, row in zip(LM_WEIGHTS, error_rates, strict=True):
            print(f"{weight:6g} |      " + "".join(f"{100 * rate:8.2f}" for rate in row))
    for penalty, rates in tuning.by_penalty.items():
        print(f"--blank_penalty {penalty:g}: {rates_text(rates.wer, rates.cer, tuning.names)}")
    print(
        f"lowest {' + '.join(tuning.error_rates)}: "
        f"{rates_text(best.wer, best.cer, tuning.names)} with {tuning.flags}"
    )
    if tuning.path:
        units = f"--units {config.classes.units} " if "units" in config.typed else ""
        print(f"written with the language model: {tuning.path}; test {units}--beamsearch uses them")
    else:
        print("nothing is written: `test --pretrained --beamsearch --lm` takes them as flags")
    return 0


COMMAND = Command(
    name="lm",
    summary="estimate an n-gram language model; with --tune, find its weights",
    run=run_lm,
    common=("datasetroot", "lang", "text", "word_list", "order", "out", "tune", "lm", "modelpath"),
    further=(*FIND_CORPUS, *OF_ESTIMATION, *OF_UNITS, *OF_TUNING, "baselogdir"),
    defaults=EVERY_CLIP,
    details="Learns from the training transcripts and from --text FILE...\n"
    "With --tune, finds the weights of --lm FILE on dev, and stores both in the model file, where\n"
    "`test --beamsearch` finds them; of two output layers, for the one that --units names. Those\n"
    "for a --pretrained model are printed.",
    examples=(
        "lm --lang fr --text books.txt.gz --prune 0 0 1 --out fr.arpa.gz",
        "lm --lang fr --word_list wordfreq --out fr.arpa",
        "lm --tune --lm fr.arpa --lang fr",
        "lm --tune --lm fr.arpa --lang fr --pretrained VOXPOPULI_ASR_BASE_10K_FR",
    ),
)

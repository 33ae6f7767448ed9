"""`check`: what is wrong with a corpus, before any training."""


def run_check(config, words, command) -> int:
    from asr_ctc.check.corpus_check import check_corpus
    from asr_ctc.check.screen import as_text

    report, files = check_corpus(config)
    print(as_text(report))
    print("\nwritten: " + ", ".join(str(file) for file in files))
    return 0 if report.verdict.can_train else 1

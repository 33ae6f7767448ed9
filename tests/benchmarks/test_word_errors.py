from benchmarks.word_errors import WordErrors, count_word_errors, table


def test_counts_by_hand():
    """'mison' is one letter from 'maison' alone; 'sit' as near to 'soit' as to 'suit'."""
    alignments = [
        [("la", "la"), ("maison", "mison"), ("soit", "sit"), (None, "x")],
        [("suit", None), ("verte", "abc")],
    ]
    errors = count_word_errors(alignments)
    assert errors == WordErrors(
        n_words=5, n_deleted=1, n_inserted=1, by_distance={1: 2, 5: 1}, n_mended=1
    )
    assert errors.n_errors == 5
    rows = table(errors).splitlines()
    assert rows[2] == "| 1 letter | 2 | 40.0 % |" and rows[5] == "| more letters | 1 | 20.0 % |"
    assert rows[-2:] == [
        "| all errors | 5 | 100.0 % |",
        "| mended by a perfect lexicon | 1 | 20.0 % |",
    ]


def test_nothing_wrong():
    assert count_word_errors([[("a", "a")], []]).n_errors == 0

"""Finds problems in a corpus before training: `main_ctc.py check`.

corpus_check.py  the whole check: reads the splits, writes the report
scan.py          decodes every clip once, in parallel; measures its sound
faults.py        the fault of each clip; every threshold and its origin
texts.py         characters, Unicode forms, content that splits share
phonemes.py      the phonemes of the transcripts, and the rare ones
unused.py        what the release's own splits leave unused
suspects.py      transcripts that a trained model doubts
suggestions.py   settings that suit the corpus
report.py        all results, suggestions and the verdict
screen.py        the report as text
page.py          the report as one HTML page
"""

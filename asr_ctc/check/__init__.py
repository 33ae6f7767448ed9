"""What is wrong with a corpus, before any training: `main_ctc.py check`.

corpus_check.py  a whole check: reads the splits, writes the report
scan.py          decodes every clip once, in parallel, to a few numbers each
faults.py        what is wrong with which clip; every threshold and where it comes from
texts.py         characters, Unicode forms, what splits share
suspects.py      with a trained model: transcripts that it doubts
report.py        all results; suggestions; the verdict
screen.py        the report as text
page.py          the report as one HTML page
"""

"""Clips and transcripts on the disk.

layouts.py      how the files of a corpus lie: Common Voice, LibriSpeech, LJSpeech, Kaldi, manifests
columns.py      the columns of a table, read fast
clip_files.py   where the file of a clip is
corpus.py       a split: its clips, sentences, speakers
durations.py    how long the clips are
index.py        what was found out about a corpus once
transcripts.py  counts over the transcripts of a corpus
exclude.py      clips that a user excludes
half_split.py   the mark of a `split` that was stopped in its middle
splitting.py    train, dev and test from one table
"""

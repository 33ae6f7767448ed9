"""Clips and transcripts on disk.

fetch.py        a data set of the Mozilla Data Collective, downloaded
archive.py      a release's archive, unpacked beside itself
layouts/        file layouts: Common Voice, LibriSpeech, LJSpeech, Kaldi, lhotse, manifests
columns.py      compact columns of a table, and fast reading of text files
clip_files.py   the file of a clip
corpus.py       a split: its clips, sentences, speakers
durations.py    the durations of the clips
index.py        results about a corpus, stored for later runs
transcripts.py  counts over the transcripts of a corpus
spoken.py       the phonemes of a corpus
exclude.py      clips that the user excludes
half_split.py   the mark of a `split` that was stopped halfway
splitting.py    train, dev and test splits from one table
"""

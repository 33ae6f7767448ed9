"""Corpus layouts: how the files of a corpus lie, and their readers, one file per layout.

common_voice.py   Common Voice's releases of read speech: --corpus commonvoice
spontaneous.py    Common Voice's releases of spontaneous speech
manifest.py       tables made by the user, NeMo's manifests, Hugging Face's folders of audio
librispeech.py    LibriSpeech
ljspeech.py       LJSpeech
kaldi.py          Kaldi's data folders
lhotse.py         lhotse's manifests

registry.py       every layout by its name, and the reading of a split by it
table.py          what a reader returns: the rows of a split, and the clips it excludes
header.py         columns found by their names
named_columns.py  further columns, such as gender
shifted_rows.py   rows that a stray tab or line end has shifted
tsv.py            tables in TSV
csv_records.py    records of CSV files
"""

"""Transcripts as text, as characters and as CTC labels.

writing.py      how a language is written: a profile
languages.py    the profiles of languages, and which one a corpus has
folding.py      letters without accents, apostrophes, invisible characters
charmap.py      the character map: from characters to classes
label_map.py    the labels of a published model as a character map
normalise.py    the form in which references and hypotheses are compared
words.py        what separates words
ctc_labels.py   how many output frames CTC needs
"""

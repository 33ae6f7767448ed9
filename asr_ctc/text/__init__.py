"""Transcripts as text, as characters and as CTC labels.

folding.py      letters without accents, lower case by language
charmap.py      the character map: which class a character is
normalise.py    the form in which references and hypotheses are compared
words.py        what separates words
ctc_labels.py   how many frames labels need
"""

"""Transcripts as text, as units and as CTC labels.

writing.py      how a language is written: a profile
languages.py    the profiles of languages, and which one a corpus has
folding.py      letters without accents, apostrophes, invisible characters
units.py        what the classes of a model are, whatever their kind
charmap.py      units that are characters: the character map
word_pieces.py  units that are word pieces
phonemes.py     units that are phonemes
ipa.py          phonemes in a text of IPA
espeak.py       texts to IPA
unit_kinds.py   the kinds of units, as a model file has them
label_map.py    the labels of a published model as a character map
rare.py         characters that are too rare for a class of their own
normalise.py    the form in which references and hypotheses are compared
words.py        what separates words
segments.py     words of writings that have no spaces between them
feasibility.py  whether labels fit into the output frames of CTC
"""

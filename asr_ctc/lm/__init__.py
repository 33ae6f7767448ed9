"""N-gram language models.

read.py        one from a file
arpa.py        ARPA files
counting.py    the n-grams of a text of any size
kneser_ney.py  probabilities from counts
word_list.py   words and their frequencies, beside the text
ngrams.py      a model as arrays
scoring.py     what a model gives the next word, compiled
spelling.py    what its words are to the units of an acoustic model
lexicon.py     how its words sound
stored.py      a model in a model file, with its weights
"""

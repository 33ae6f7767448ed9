"""Makes working parts from the settings.

writing.py         the writing profile of a corpus, and which character map suits it
charmap.py         the character map that --charset names
features.py        features, their masks and caches
model.py           the acoustic model, new or from a model file
units.py           what the classes of a model are
scored_split.py    the split of a corpus that a model is applied to
decoder.py         a recogniser, its beam search and language model
language_model.py  estimates a language model from a corpus and texts
tuning.py          finds the weights of a language model for a model
split_files.py     writes train, dev and test of one table
"""

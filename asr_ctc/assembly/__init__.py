"""Settings in, working parts out.

parts.py           character map, model, features, caches
splits.py          the split of a corpus that a model is applied to
decoder.py         a recogniser, its beam search and language model
language_model.py  a language model of a corpus and of texts
tuning.py          its weights, for a model
split_files.py     train, dev and test of one table
"""

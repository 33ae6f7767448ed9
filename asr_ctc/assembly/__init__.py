"""Settings in, working parts out.

parts.py    character map, model, features, caches
splits.py   the split of a corpus that a model is scored on
decoder.py  a recogniser, its beam search and language model
"""

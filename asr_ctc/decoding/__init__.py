"""From log posteriors to text and times.

hypothesis.py      what a decoder returns
posteriors.py      the log posteriors that decoders take, checked
greedy.py          the best path
beam.py            prefix beam search
beam_reference.py  the search as one reads it: the specification of the fast ones
beam_compiled.py   the search compiled for the processor, with language models
beam_batched.py    the search in torch, a whole batch at once
fusion.py          a language model inside the beam search
alignment.py       known labels laid along the posteriors of a clip
"""

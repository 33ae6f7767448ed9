"""From log posteriors to text and times.

hypothesis.py      hypotheses, and the seconds of output frames
posteriors.py      checks of the log posteriors that decoders get
greedy.py          the best path
beam.py            prefix beam search
beam_reference.py  the textbook search: the specification of the fast ones
beam_compiled.py   the search compiled for the processor, with language models
beam_batched.py    the search in torch, a whole batch at once
beam_history.py    the beam after each frame: which prefixes lived, and which became one
fusion.py          a language model inside the beam search
reading.py         phonemes read into the words of a lexicon
alignment.py       forced alignment of labels with a clip: times of words and characters
viterbi.py         the likeliest path of known labels, compiled
"""

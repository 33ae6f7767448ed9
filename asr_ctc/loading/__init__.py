"""From a corpus to batches.

dataset.py        clip i of a corpus: log-mel and labels
batch.py          clips to a pair of PackedSequences
sampling.py       which clips make a batch, in which order
selection.py      the clips of a split that can be used
duration_bounds.py  the maximum clip length that suits a corpus
loader.py         batches made by worker processes
normalization.py  mean and standard deviation of the log-mels
trained_sound.py  what the recordings sound like, to be kept with the model
feature_cache.py  log-mels kept on the disk
frame_cache.py    frames of a frozen encoder kept on the disk
"""

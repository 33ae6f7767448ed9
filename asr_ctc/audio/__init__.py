"""From a file to samples, and from samples to log-mel spectrograms.

decode.py   a file to samples (S,), float32, mono, at the model's rate
mp3.py          the frames of an mp3 file, counted
containers.py   what a file holds by its own structure, where the decoder would not see it
pyav.py         what phones and browsers record, through the optional package av
mixdown.py      several channels to one
measures.py     how loud speech is, and how high its frequencies reach
log_mel.py  samples to log-mel (T, F); SpecAugment
augment.py  changes of training waveforms
"""

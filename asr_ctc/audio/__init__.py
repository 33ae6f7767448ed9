"""From a file to samples, and from samples to log-mel spectrograms.

decode.py   a file to samples (S,), float32, mono, at the model's rate
mp3.py      what the decoder does not say about an mp3 file
log_mel.py  samples to log-mel (T, F); SpecAugment
augment.py  changes of training waveforms
"""

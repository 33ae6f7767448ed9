"""From a file to samples, and from samples to log-mel spectrograms.

decode.py        a file to samples (S,), float32, mono, at the model's rate
mp3.py           the frames of an mp3 file, counted
containers.py    the structure of audio files, where the decoder overlooks it
pyav.py          the formats of phones and browsers, through the optional package av
mixdown.py       several channels to one
measures.py      level of speech and bandwidth
log_mel.py       samples to log-mel (T, F)
whisper_mel.py   the log-mel of Whisper
features.py      what a model hears of a waveform, whatever the kind
feature_kinds.py the kinds of features, as a model file has them
samples.py       the samples themselves as features
kaldi_mel.py     Kaldi's mels (T, F), in pairs
spec_augment.py  masks and time warping of training spectrograms (SpecAugment)
augment.py       augmentation of training waveforms
"""

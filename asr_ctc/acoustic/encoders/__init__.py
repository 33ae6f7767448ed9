"""Encoders: what turns the input of a clip into the frames that a head reads.

encoder.py           the seam: what every encoder offers
whisper.py           Whisper's
kinds.py             every kind, by its name in the model file
folder.py            reads one from a folder of the Hugging Face form
safetensors_file.py  reads files of weights
weight_files.py      weights of either form, and what differs from those that are needed

speech_transformer.py  wav2vec 2.0 and its kin: the way through their layers, and their fine-tuning
torchaudio_bundles.py  those of torchaudio, by name
huggingface.py         those of transformers, from folders
convolutions.py        lengths and places of the frames of their convolutions
clip_edges.py          padding changes no clip
span_masks.py          masks of fine-tuning
catalogue.py           the published models that are known by name
published.py           those that transcribe as they are, with their own heads and labels
"""

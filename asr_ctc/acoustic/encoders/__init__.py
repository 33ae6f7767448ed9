"""Encoders: what turns the input of a clip into the frames that a head reads.

encoder.py           the seam: what every encoder offers
whisper.py           Whisper's
kinds.py             every kind, by its name in the model file
folder.py            reads one from a folder of the Hugging Face form
safetensors_file.py  reads files of weights
"""

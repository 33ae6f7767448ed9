"""A trained model that turns recordings into transcripts.

recognizer.py   a model file, ready to transcribe and align
transcriber.py  many recordings: in pieces, batched, in bounded memory
cutting.py      long recordings cut at pauses
recordings.py   the files that a user names
recording_notes.py  whether a recording sounds like those of the training
formats.py      transcripts as text, JSON, subtitles, tables
"""

"""Every setting of the project, defined once: its flag, default, help and YAML key.

A setting is a field of one of the dataclasses in these files. It is ``--name`` on the command line
and ``name: value`` in a YAML file; ``--help`` prints its help line. commands/ lists the settings of
each command. Nothing here imports torch, so that ``--help`` is fast.

setting.py         what a setting is: default, help, choices, bounds

corpus.py          where the speech is, which clips are used, the character map, caches
units.py           what the classes of a model are
features.py        log-mel spectrograms, SpecAugment, augmentation of waveforms
model.py           encoder, recurrent layers, dropout, penalties
published.py       published models, and the weights of encoders
training.py        batches, learning rates, freezing, schedule, early stopping, saving, resuming
logs.py            the folder of the runs
input.py           the model file, and the recordings, split or texts that it is applied to
decoding.py        beam search, language-model fusion, hotwords
output.py          files and formats that are written: --out, --format, --json, --html
check.py           what `check` looks for
inspect.py         what `inspect` shows
split.py           how `split` makes train, dev and test
language_model.py  how `lm` estimates a language model, --tune
scoring.py         how transcripts are scored
runtime.py         device, processes, seed
"""

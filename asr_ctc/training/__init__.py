"""A run: from settings to best_model.pt.

loop.py          the training loop
setup.py         a run put together from the settings
run.py           everything a run works with
clips.py         its clips: splits, bounds of length, units, datasets
refusals.py      settings that training refuses
origin.py        where a model comes from, for its file
encoding.py      frames of frozen encoder layers, kept on the disk
from_settings.py a run from Python: asr_ctc.train
run_folder.py    the folder of a run
run_log.py       train.log, which locks it
result.py        what a run has come to
step.py          one optimiser step
state.py         what changes while a run goes on
resume.py        going on with a run
memory.py        the longest clip that fits, what a batch keeps
optimiser.py     AdamW over the parts of a model
schedule.py      the learning rate over time
averages.py      averages of weights
kept_models.py   the model files that a run keeps
best_epochs.py   which epochs are the best
early_stopping.py  when to stop waiting for a better one
curves.py        tensorboard's file
epoch_log.py     metrics and decodings of an epoch
doctor.py        advice from the curves
interruption.py  Ctrl-C and SIGTERM
distributed.py   several processes
overfit.py       --debug: one batch
run_list.py      the runs of a folder
"""

"""The acoustic model: log-mel in, log posteriors out.

ctc_model.py     convolutions, recurrent layers, linear layer
architecture.py  the sizes that rebuild a model
recurrent.py     bidirectional GRU and LSTM over packed and padded batches
log_posteriors.py  the log posteriors of a batch
loss.py          the CTC loss of each clip
compute.py       device, precision, threads
model_file.py    the model file: everything needed to transcribe
"""

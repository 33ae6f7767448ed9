"""The acoustic model: log-mel in, log posteriors out.

ctc_model.py     convolutions, recurrent layers, linear layer
encoder_model.py a pretrained encoder, recurrent layers, linear layer
encoders/        the encoders
model_kinds.py   both kinds of models, by their sizes
architecture.py  the sizes that rebuild a model of the first kind
two_heads.py     a second output layer
penalty.py       penalties of large weights
clip_mask.py     the frames inside the clips of a padded batch
recurrent.py     bidirectional GRU and LSTM over packed and padded batches
gru_steps.py     what a GRU does at a time step, compiled
gru_loops.py     all its time steps, compiled, on processors with AVX512-BF16
bfloat16_product.py  the matrix products of gru_loops.py
normalise_steps.py  what follows a convolution, compiled
masked_norm.py   batch normalisation of the frames inside the clips
bfloat16.py      bfloat16 in compiled code
log_posteriors.py  the log posteriors of a batch
layer_outputs.py what each layer holds of a clip, and what the output layer reads from it
loss.py          the CTC loss of each clip
clip_memory.py   the memory that training takes for a clip, by its length
compute.py       device, precision, threads
model_file.py    the model file: everything needed to transcribe
plain_content.py what a model file may hold
"""

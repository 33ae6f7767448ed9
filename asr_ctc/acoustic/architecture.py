"""The sizes that rebuild a CTCModel."""

from typing import NamedTuple

from torch import nn

N_CHANNELS = 32
RECURRENT_CELLS = {"GRU": nn.GRU, "LSTM": nn.LSTM}


class Architecture(NamedTuple):
    """The sizes that rebuild a CTCModel."""

    n_mels: int
    nhidden_rnn: int
    nlayers_rnn: int
    cell_type: str
    vocab_size: int
    rnn_norm: bool = False

    @classmethod
    def of_state_dict(cls, state: dict) -> "Architecture":
        """Read from the tensors of a CTCModel; ValueError says which are missing or misshapen."""
        needed = [
            "cnn.0.weight",
            "cnn.4.weight",
            "rnn.weight_ih_l0",
            "rnn.weight_hh_l0",
            "charlin.0.weight",
        ]
        missing = [key for key in needed if key not in state]
        if missing:
            raise ValueError(f"tensors missing: {', '.join(missing)}")
        n_gates, remainder = divmod(
            state["rnn.weight_hh_l0"].shape[0], state["rnn.weight_hh_l0"].shape[1]
        )
        cell_type = {3: "GRU", 4: "LSTM"}.get(n_gates)
        if cell_type is None or remainder:
            shape = tuple(state["rnn.weight_hh_l0"].shape)
            raise ValueError(f"rnn.weight_hh_l0 {shape} is neither a GRU's nor an LSTM's")
        bins = state["rnn.weight_ih_l0"].shape[1] // N_CHANNELS
        return cls(
            n_mels=2 * bins,  # an odd number of bins, 2 * bins - 1, would leave the same tensors
            nhidden_rnn=state["rnn.weight_hh_l0"].shape[1],
            nlayers_rnn=sum(
                key.startswith("rnn.weight_hh_l") and "reverse" not in key for key in state
            ),
            cell_type=cell_type,
            vocab_size=state["charlin.0.weight"].shape[0],
            rnn_norm="rnn_norms.0.weight" in state,
        )

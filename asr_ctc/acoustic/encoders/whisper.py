"""Whisper's encoder: two convolutions, positions, transformer layers.

Radford et al. 2022, "Robust speech recognition via large-scale weak supervision". Tensors have the
names that they have in Hugging Face's folders.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import gelu, pad, scaled_dot_product_attention

from asr_ctc.acoustic.architecture import Size
from asr_ctc.acoustic.clip_mask import inside
from asr_ctc.acoustic.encoders.encoder import Encoder
from asr_ctc.audio.log_mel import POWER_FLOOR
from asr_ctc.audio.whisper_mel import RANGE, WhisperFeatures

MOST, MOST_LAYERS = 1 << 16, 1_000  # sizes beyond are of no Whisper, and would take any memory


@dataclass(frozen=True, kw_only=True)
class WhisperSettings:
    """The sizes of Whisper's encoder, and how clips are given to it.

    n_positions: frames T' of the longest window, 1500 for 30 s. padded: clips are padded to that
    length, as they were in Whisper's training; otherwise they keep their own. Longer ones are
    encoded in several windows. ValueError for impossible sizes.
    """

    n_mels: int
    size: int
    n_layers: int
    n_heads: int
    n_hidden: int
    n_positions: int
    padded: bool = False

    def __post_init__(self) -> None:
        for name in ("n_mels", "size", "n_layers", "n_heads", "n_hidden", "n_positions"):
            size = getattr(self, name)
            if type(size) is not int or not 1 <= size <= MOST:
                raise ValueError(f"{name} must be a whole number in 1..{MOST}, found {size!r}")
        if self.n_layers > MOST_LAYERS:
            raise ValueError(f"n_layers must be at most {MOST_LAYERS}, found {self.n_layers}")
        if type(self.padded) is not bool:
            raise ValueError(f"padded must be True or False, found {self.padded!r}")
        if self.size % self.n_heads:
            raise ValueError(f"{self.n_heads} heads cannot share {self.size} numbers")

    def __str__(self) -> str:
        clips = ", clips padded to the longest" if self.padded else ""
        return f"Whisper's encoder of {self.n_layers} layers of {self.size}{clips}"


class WhisperAttention(nn.Module):
    """Self-attention of ``n_heads`` heads; keys have no bias."""

    def __init__(self, size: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.k_proj = nn.Linear(size, size, bias=False)
        self.v_proj = nn.Linear(size, size)
        self.q_proj = nn.Linear(size, size)
        self.out_proj = nn.Linear(size, size)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """(B, T', D) to (B, T', D); ``mask`` (B, 1, 1 or T', T') is true where frames are seen."""
        q, k, v = (
            linear(x).unflatten(2, (self.n_heads, -1)).transpose(1, 2)
            for linear in (self.q_proj, self.k_proj, self.v_proj)
        )
        heads = scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(heads.transpose(1, 2).flatten(2))


class WhisperLayer(nn.Module):
    """Attention and two linear layers, each on normalised frames and added to them."""

    def __init__(self, settings: WhisperSettings):
        super().__init__()
        size = settings.size
        self.self_attn = WhisperAttention(size, settings.n_heads)
        self.self_attn_layer_norm = nn.LayerNorm(size)
        self.fc1 = nn.Linear(size, settings.n_hidden)
        self.fc2 = nn.Linear(settings.n_hidden, size)
        self.final_layer_norm = nn.LayerNorm(size)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        x = x + self.self_attn(self.self_attn_layer_norm(x), mask)
        return x + self.fc2(gelu(self.fc1(self.final_layer_norm(x))))


class WhisperEncoder(Encoder):
    """Whisper's log-mel (T, F) to frames (T', D) of 20 ms, T' = T / 2 rounded up."""

    settings: WhisperSettings
    min_input = 1

    def __init__(self, settings: WhisperSettings):
        super().__init__()
        self.settings, self.size, self.n_layers = settings, settings.size, settings.n_layers
        self.features = WhisperFeatures(
            nmels=settings.n_mels, padded_to=2 * settings.n_positions if settings.padded else 0
        )
        self.conv1 = nn.Conv1d(settings.n_mels, self.size, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(self.size, self.size, kernel_size=3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(settings.n_positions, self.size)
        self.layers = nn.ModuleList(WhisperLayer(settings) for _ in range(self.n_layers))
        self.layer_norm = nn.LayerNorm(self.size)

    def output_lengths(self, n_inputs: Size) -> Size:
        return (n_inputs + 1) // 2

    @property
    def output_centres(self) -> tuple[int, float]:
        return 2, 0.0

    @property
    def sees_clip_alone(self) -> bool:
        return not self.settings.padded

    def computed_s(self, durations_s: np.ndarray) -> np.ndarray:
        if not self.settings.padded:
            return durations_s
        window_s = 2 * self.settings.n_positions * self.features.hop / self.features.rate
        return np.maximum(np.ceil(durations_s / window_s), 1) * window_s

    def front(self, padded: torch.Tensor, n_inputs: torch.Tensor) -> torch.Tensor:
        if padded.shape[2] != self.settings.n_mels:
            raise ValueError(f"{self.settings.n_mels} mel bins are needed, found {padded.shape[2]}")
        if self.settings.padded:
            x = self._with_silence(padded, n_inputs).transpose(1, 2)
            x = gelu(self.conv2(gelu(self.conv1(x)))).transpose(1, 2)
        else:
            x = gelu(self.conv1(padded.transpose(1, 2)))
            x = x * inside(n_inputs, x.shape[2], x.device)[:, None].to(x.dtype)
            x = gelu(self.conv2(x)).transpose(1, 2)
        places = torch.arange(x.shape[1], device=x.device) % self.settings.n_positions
        return x + self.embed_positions(places)

    def _with_silence(self, padded: torch.Tensor, n_inputs: torch.Tensor) -> torch.Tensor:
        """Clips (B, T, F) lengthened to whole windows by what silence has in their spectrogram."""
        window = 2 * self.settings.n_positions
        padded = pad(padded, (0, 0, 0, -padded.shape[1] % window))
        is_sound = inside(n_inputs, padded.shape[1], padded.device)[..., None]
        maxima = padded.masked_fill(~is_sound, -torch.inf).amax((1, 2), keepdim=True)
        silence = (math.log10(POWER_FLOOR) + 4) / 4
        return torch.where(is_sound, padded, (maxima - RANGE / 4).clamp(min=silence))

    def climb(
        self, x: torch.Tensor, n_frames: torch.Tensor, first: int = 0
    ) -> Iterator[torch.Tensor]:
        mask = self._mask(x, n_frames)
        for layer in range(first, self.n_layers):
            x = self.layers[layer](x, mask)
            yield self.layer_norm(x) if layer == self.n_layers - 1 else x

    def _mask(self, x: torch.Tensor, n_frames: torch.Tensor) -> torch.Tensor | None:
        """Which frames (B, 1, 1 or T', T') see which: those of their clip and window."""
        n_steps, window = x.shape[1], self.settings.n_positions
        mask = None
        if not self.settings.padded and bool((n_frames < n_steps).any()):
            mask = inside(n_frames, n_steps, x.device)[:, None, None]
        if n_steps > window:
            numbers = torch.arange(n_steps, device=x.device) // window
            of_window = (numbers == numbers[:, None])[None, None]
            mask = of_window if mask is None else mask & of_window
        return mask

    def parts(self) -> dict[str, list[nn.Module]]:
        layers: list[list[nn.Module]] = [[layer] for layer in self.layers]
        layers[-1].append(self.layer_norm)
        return {
            "front": [self.conv1, self.conv2, self.embed_positions],
            **{f"layer {number}": modules for number, modules in enumerate(layers, 1)},
        }

"""The device of the tests marked ``cuda``.

ASR_CTC_TEST_DEVICE=cpu tries these tests themselves where there is no GPU.
"""

import os

import torch

GPU = torch.device(os.environ.get("ASR_CTC_TEST_DEVICE", "cuda"))


def is_missing() -> bool:
    return GPU.type == "cuda" and not torch.cuda.is_available()

"""Texts and files with seeded damage, and what readers may say of them. For tests.

ASR_CTC_FUZZ is the number of inputs for each reader. Input i is the same wherever it is made.
"""

import os
import random

from asr_ctc.base.errors import UserError

N = int(os.environ.get("ASR_CTC_FUZZ", "100"))

ODD = [
    *(
        b"\t",
        b"\n",
        b"\r",
        b"\r\n",
        b"\0",
        b'"',
        b'""',
        b",",
        b"|",
        b" ",
        b"\\",
        b"\x1b[2J",
        b"\x85",
    ),
    *(
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xe9",
        b"\xe2\x80\xa8",
        b"\xc2\x85",
        b"\xe2\x80\x8b",
        b"\xc3",
    ),
    *(
        b"[" * 3000,
        b"{",
        b"}",
        b"null",
        b"true",
        b"NaN",
        b"-inf",
        b"1e999",
        b"9" * 5000,
        b"-0",
        b"",
    ),
    *(b"\\ud800", b"\\u0000", b"path", b"sentence", b"<unk>", b"<UNK>", b"<space>", b"\\data\\"),
    *(b"\\1-grams:", b"\\end\\", b"ngram 1=9", b"0", b"-1", b"1_0", b"0x1p3", b"case_folding"),
    *(b"apostrophe", b"\xcc\x81", b"x" * 300, b"\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7"),
]


def damaged(content: bytes, seed: int) -> bytes:
    """The content with a few things put in, taken out, doubled, swapped or cut off."""
    chance, content = random.Random(seed), bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        start = chance.randrange(len(content) + 1)
        end = min(len(content), start + chance.choice((0, 1, 1, 3, 10, 40)))
        kind = chance.randrange(6)
        if kind == 0:
            content[start:end] = chance.choice(ODD)
        elif kind == 1:
            content[start:start] = chance.choice(ODD)
        elif kind == 2:
            del content[start:end]
        elif kind == 3:
            content[start:start] = content[start:end]
        elif kind == 4:
            content[start:end] = chance.randbytes(end - start)
        elif chance.random() < 0.2:
            del content[start:]
    return bytes(content)


def fuzz(content: bytes, read, n_tries: int = N) -> None:
    """``read`` (bytes, seed) of the content and of damaged ones raises nothing but UserErrors of
    one line; of the content itself, and of some others, nothing at all."""
    n_read = 0
    read(content, 0)
    for seed in range(n_tries):
        try:
            read(damaged(content, seed), seed)
        except UserError as error:
            assert 0 < len(str(error)) < 5000 and len(str(error).splitlines()) == 1
            assert not set(str(error)) & set("\x00\x1b\t\x85\u200b\ufeff\ud800")
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            raise AssertionError(f"input {seed}: {told[:300]}") from None
        else:
            n_read += 1
    assert n_read or n_tries < 20

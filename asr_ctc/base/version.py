"""The version of asr_ctc."""

VERSION = "0.1.0"

"""Helpers that every other package may use.

errors.py      UserError and AudioError: what a user can cause, in one line
version.py     the version of asr_ctc
files.py       atomic writes; locks; texts read as a whole
progress.py    the progress bar
compiled.py    numba functions, cached on disk and recompiled when their source changes
console.py     standard error and logging of the command line
processors.py  the processor cores that this process may use
report.py      results as dataclasses that become JSON
quiet.py       hides decoders' own messages on standard error
printable.py   text that is safe to print
"""

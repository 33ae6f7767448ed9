"""What every other package may use.

errors.py      UserError and AudioError: what a user can cause, in one line
version.py     the version of asr_ctc
files.py       files written whole or not at all; locks
progress.py    the bar of long work
compiled.py    numba functions whose machine code is kept, and renewed when their source changes
console.py     standard error and the log of a command line
processors.py  the processor cores that this process may use
report.py      results as dataclasses that become JSON
quiet.py       what decoders write to standard error, hidden when a command asks
printable.py   text that is safe to print
"""

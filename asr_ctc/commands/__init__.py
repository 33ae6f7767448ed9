"""The commands of main_ctc.py, a file each: the flags it takes, its wiring, its printing.

main.py runs them; arguments.py has what several of them share; split_scoring.py is the half of
`test` that scores. Their heavy imports wait until a command runs, so that --help answers at once.
"""

import os

# Read when torch is loaded, which importing a command may do: threads wait for each other asleep.
# The default, to look again and again, makes a step many times slower where other programs share
# the cores. The command line decides this for its own process; a library does not for its host.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Read at oneDNN's first use: it keeps compiled code and scratch memory for each length that a batch
# ever had, 5.7 GB in an hour of training. With 128 of them the same work takes the same time.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")

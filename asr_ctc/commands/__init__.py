"""The commands of main_ctc.py, a file each: the flags it takes, its wiring, its printing.

main.py runs them; arguments.py has what several of them share. Their heavy imports wait until a
command runs, so that --help answers at once.
"""

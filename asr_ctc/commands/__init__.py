"""The commands of main_ctc.py, a file each, and main.py, which runs them."""

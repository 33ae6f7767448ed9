"""The settings, from defaults, YAML files and the command line.

settings/  every setting, with its default, bounds and help, one file per section
load.py    all settings together: checks, reading and writing of YAML
flags.py   the flags of each command: parser and help
"""

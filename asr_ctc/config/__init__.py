"""The settings, from defaults, YAML files and the command line.

settings.py  every setting once, with its default, bounds and help
load.py      all settings together: checked, read from YAML, written as YAML
flags.py     a command's flags: parser and help
"""

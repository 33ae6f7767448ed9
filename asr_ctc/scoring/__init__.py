"""How well a split is read, and whether one model reads it better than another.

clips.py      the clips with their errors counted; hypotheses as JSONL and CSV
bootstrap.py  95 % intervals, and the probability that one system is better
report.py     what `test --split` says, as one dictionary: rates, slices, confusions, examples
compare.py    what `compare` says, likewise
screen.py     either dictionary as text
page.py       the report as one HTML page
"""

"""How well a model recognises a split, and whether another model is better.

metrics.py       error rates of lists of texts, with their intervals; alignments
bootstrap.py     95 % intervals, and the probability that one system is better
evaluation.py    losses and hypotheses of a split
clips.py         the clips with their errors counted; hypotheses as JSONL and CSV
report.py        the report of `test --split`: rates, slices, confusions, examples
split_scores.py  decodes a split and makes that report
compare.py       the report of `compare`
screen.py        either report as text
page.py          the report of a split as one HTML page
"""

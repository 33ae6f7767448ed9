"""Layout of reports, independent of their content.

terminal.py  columns, counts, and words aligned under words
html.py      a self-contained page and its parts
charts.py    bars, histograms and other charts as SVG
"""

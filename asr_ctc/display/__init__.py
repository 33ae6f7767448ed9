"""How reports look, whatever they report.

terminal.py  columns and counts of a page of text; words under words
html.py      the frame and the parts of a page without external parts
charts.py    bars, histograms, as SVG
"""

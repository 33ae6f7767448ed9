"""Pictures of what a model believes of a clip, frame by frame.

sound.py       the clip that is looked at
clip_view.py   what one model makes of it, as arrays
ctc_rule.py    path, runs, lattice: CTC's rule on arrays
images.py      arrays as PNG, without a plotting library
strips.py      the parts of a page that share a time axis
clip_page.py   the page of a clip, for one or several models; page.css, page.js
index_page.py  the index of a split, worst clips first
plots.py       the same pictures as matplotlib figures, from arrays
figures.py     all figures of a clip
"""

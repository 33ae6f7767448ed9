"""N-gram language models: ARPA files, estimation from text, arrays for compiled
scoring, lexicons of pronunciations."""

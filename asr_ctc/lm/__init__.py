"""N-gram language models: ARPA files, estimation from text, and arrays for compiled scoring."""

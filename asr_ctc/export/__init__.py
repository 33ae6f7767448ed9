"""Models in the forms of other programs.

huggingface_folder.py  a fine-tuned encoder as transformers loads it
"""

"""Encoders: what turns the input of a clip into the frames that a head reads.

encoder.py  the seam: what every encoder offers
"""

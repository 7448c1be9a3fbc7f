"""Synthetic speech with exact times: sentences, voices, and scenes of them."""

"""How models are trained: the loop, and the folder that a model becomes."""

"""What models are trained on: speech of synthesisers, sounds and rooms made of random numbers. No recording is used."""

sluice_fuzz_target(vad_weights vad_weights.c LIBS vad_engine)

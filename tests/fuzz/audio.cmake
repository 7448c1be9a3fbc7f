sluice_fuzz_target(audio_decode audio_decode.c LIBS audio_engine)

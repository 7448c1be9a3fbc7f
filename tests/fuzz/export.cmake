sluice_fuzz_target(transcript transcript.c LIBS export_engine)

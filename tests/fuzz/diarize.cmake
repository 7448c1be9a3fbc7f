# What diarize reads: turns, RTTM, transcripts.
sluice_fuzz_target(turns turns.c LIBS diarize_engine)

# What diarize reads: turns, RTTM, transcripts; voices; models.
sluice_fuzz_target(turns turns.c LIBS diarize_engine)
sluice_fuzz_target(voices voices.c LIBS diarize_engine)
sluice_fuzz_target(diarize_model diarize_model.c LIBS diarize_engine)

# Regions of speech, as whisper/transcribe reads them.
sluice_fuzz_target(whisper_regions whisper_regions.c LIBS whisper_engine)

# What align reads: files of a model, and a transcript with its attention.
sluice_fuzz_target(align_model align_model.c LIBS align_engine)
sluice_fuzz_target(align_attention align_attention.c LIBS align_engine)

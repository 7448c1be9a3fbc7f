sluice_fuzz_target(transcript transcript.c LIBS export_engine)
sluice_fuzz_target(exec_config exec_config.c LIBS exec_engine)

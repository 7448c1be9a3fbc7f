sluice_fuzz_target(journal journal.c LIBS core_run)

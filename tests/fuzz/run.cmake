sluice_fuzz_target(journal journal.c LIBS core_run)
sluice_fuzz_target(replay_journal replay_journal.c LIBS core_run)
sluice_fuzz_target(results results.c LIBS core_run)

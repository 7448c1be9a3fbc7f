sluice_fuzz_target(gpus gpus.c LIBS core_proc)
sluice_fuzz_target(peaks peaks.c LIBS core_sched)

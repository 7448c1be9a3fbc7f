sluice_fuzz_target(proc_text proc_text.c LIBS core_proc)

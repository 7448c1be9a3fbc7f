sluice_fuzz_target(elf elf.c LIBS core_check)

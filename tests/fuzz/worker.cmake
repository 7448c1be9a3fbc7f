# Parsers of core/ipc and core/proc.
sluice_fuzz_target(frame frame.c LIBS core_ipc)
sluice_fuzz_target(portcheck portcheck.c LIBS core_ipc)
sluice_fuzz_target(plugin_cache plugin_cache.c LIBS core_proc)

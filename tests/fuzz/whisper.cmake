# Parsers of plugins/num and plugins/whisper.
sluice_fuzz_target(safetensors safetensors.c LIBS num)

# Parsers of plugins/num and plugins/whisper.
sluice_fuzz_target(safetensors safetensors.c LIBS num)
sluice_fuzz_target(tokenizer tokenizer.c LIBS num)
sluice_fuzz_target(bpe_encode bpe_encode.c LIBS num)
sluice_fuzz_target(whisper_config whisper_config.c LIBS whisper_engine)

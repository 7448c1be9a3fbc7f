# Parsers of model files and of what a hub answers.
sluice_fuzz_target(whisper_ggml whisper_ggml.c LIBS whisper_engine)
sluice_fuzz_target(whisper_shards whisper_shards.c LIBS whisper_engine)
sluice_fuzz_target(tokenizer_json tokenizer_json.c LIBS num)
sluice_fuzz_target(hub_repo hub_repo.c LIBS core_repo)
sluice_fuzz_target(quant_blocks quant_blocks.c LIBS num_cpu)

# Parsers of language models' files.
sluice_fuzz_target(gguf gguf.c LIBS llm_engine)
sluice_fuzz_target(llm_tokenizer llm_tokenizer.c LIBS llm_engine)
sluice_fuzz_target(llm_config llm_config.c LIBS llm_engine)
sluice_fuzz_target(llm_charsmap llm_charsmap.c LIBS llm_engine)
# What a server answers.
sluice_fuzz_target(llm_reply llm_reply.c LIBS llm_reply)

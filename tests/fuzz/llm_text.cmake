# What the LLM stages read: transcripts, and templates of models.
sluice_fuzz_target(llm_transcript llm_transcript.c LIBS llm_text)
sluice_fuzz_target(llm_template llm_template.c LIBS llm_text)
sluice_fuzz_target(llm_schema llm_schema.c LIBS llm_text)
sluice_fuzz_target(llm_gbnf llm_gbnf.c LIBS llm_text)

# What the LLM stages read: transcripts.
sluice_fuzz_target(llm_transcript llm_transcript.c LIBS llm_text)

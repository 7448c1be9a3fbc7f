"""What tools/wer is made of: Whisper's text normalisers, alignment of words, transcripts as files, output."""

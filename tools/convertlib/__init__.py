"""The parts of tools/convert."""

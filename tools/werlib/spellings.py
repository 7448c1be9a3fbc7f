"""The table of British and American spellings that Whisper's English normaliser uses.

It is somebody else's data, so it is not part of this project: it is read where it is found. openai-whisper has it as
normalizers/english.json, models on the Hugging Face hub as normalizer.json.
"""
import importlib.util
import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
BESIDE = os.path.join(HERE, "..", "..", "..", "shared/data/tokenizer/english.json")


def places():
    """Where a table may lie, likeliest first."""
    try:
        package = importlib.util.find_spec("whisper")
    except (ImportError, ValueError):
        package = None
    for folder in package.submodule_search_locations or [] if package else []:
        yield os.path.join(folder, "normalizers", "english.json")
    yield os.path.normpath(BESIDE)


def find():
    """The path of a table, or None."""
    return next((path for path in places() if os.path.isfile(path)), None)


def read(path):
    """{British: American}; raises ValueError or OSError with words for the user."""
    with open(path, encoding="utf-8") as file:
        try:
            table = json.load(file)
        except ValueError as error:
            raise ValueError("%s is not JSON: %s" % (path, error))
    if not isinstance(table, dict) or not all(isinstance(word, str) for word in table.values()):
        raise ValueError("%s is no table of spellings: expected a JSON object of words" % path)
    return table

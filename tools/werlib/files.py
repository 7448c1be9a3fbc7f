"""Transcripts as files: .txt, .srt, .vtt and .json (transcript/1), and folders of them.

Speaker labels and tags of subtitles are not words and are left out.
"""
import html
import json
import os
import re

TIME_LINE = re.compile(r"^\s*(\d+:)?\d+:\d\d[.,]\d+\s+-->\s")
TAG = re.compile(r"</?[a-zA-Z][^>]*>")
SPEAKER = re.compile(r"^\s*\[[^\]\s]+\]:\s")
KINDS = (".txt", ".json", ".srt", ".vtt")  # the first one counts where a name has several


class Unreadable(Exception):
    """A file is not what its name says; the message is for the user."""


def subtitle_text(text):
    """The cues' text of an .srt or .vtt file."""
    lines = []
    in_cue = False
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if TIME_LINE.match(line):
            in_cue = True
        elif not line.strip():
            in_cue = False
        elif in_cue:
            lines.append(SPEAKER.sub("", html.unescape(TAG.sub("", line))))
    return "\n".join(lines)


def transcript_text(root, path):
    """The text of a transcript/1: of its segments, or its own where it has none."""
    if isinstance(root, dict) and isinstance(root.get("segments"), list):
        parts = [s.get("text") for s in root["segments"] if isinstance(s, dict)]
        if all(isinstance(part, str) for part in parts) and len(parts) == len(root["segments"]):
            return "\n".join(parts)
    if isinstance(root, dict) and isinstance(root.get("text"), str):
        return root["text"]
    raise Unreadable("%s has neither segments with text nor a text of its own" % path)


def read(path):
    """(spoken text, language that the file names or None)"""
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable("%s cannot be read: %s" % (path, error))
    kind = os.path.splitext(path)[1].lower()
    if kind in (".srt", ".vtt"):
        return subtitle_text(text), None
    if kind != ".json":
        return "\n".join(SPEAKER.sub("", line) for line in text.split("\n")), None
    try:
        root = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable("%s is not JSON: %s" % (path, error))
    spoken = transcript_text(root, path)
    language = root.get("language")
    return spoken, language if isinstance(language, str) else None


def named(folder):
    """{name without extension: path} of a folder's transcripts."""
    found = {}
    try:
        entries = sorted(os.listdir(folder))
    except OSError as error:
        raise Unreadable("%s cannot be read: %s" % (folder, error))
    for kind in KINDS:
        for entry in entries:
            name, extension = os.path.splitext(entry)
            path = os.path.join(folder, entry)
            if extension.lower() == kind and os.path.isfile(path):
                found.setdefault(name, path)
    return found


def pairs(reference, hypothesis):
    """([(name, reference path, hypothesis path or None)], hypotheses without a reference)"""
    if not os.path.isdir(reference) and not os.path.isdir(hypothesis):
        return [(os.path.basename(reference), reference, hypothesis)], []
    for path in (reference, hypothesis):
        if not os.path.isdir(path):
            raise Unreadable("%s is no folder, but the other one is: give two files or two folders" % path)
    wanted, got = named(reference), named(hypothesis)
    if not wanted:
        raise Unreadable("%s holds no transcript (%s)" % (reference, ", ".join(KINDS)))
    if not set(wanted) & set(got):
        raise Unreadable("%s holds no transcript that is named like one in %s" % (hypothesis, reference))
    return [(name, wanted[name], got.get(name)) for name in sorted(wanted)], sorted(set(got) - set(wanted))

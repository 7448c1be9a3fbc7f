"""Sentences of Festival's voices with the times of words, a list of them in one process."""
import os
import re
import subprocess
import tempfile
import wave

import numpy as np

TRAINING = ("kal_diphone", "cmu_us_slt_arctic_hts")
HELD_OUT = ("ked_diphone",)  # for tests alone

PROGRAM = """
(voice_%s)
(define times (fopen "%s/times" "w"))
(define (say id text stretch)
  (Parameter.set 'Duration_Stretch stretch)
  (let ((u (utt.synth (eval (list 'Utterance 'Text text)))))
    (utt.save.wave u (string-append "%s/" id ".wav") 'riff)
    (mapcar (lambda (token)
      (format times "%%s" id)
      (mapcar (lambda (word) (format times " %%f %%f" (item.feat word "word_start") (item.feat word "word_end")))
        (item.daughters token))
      (format times "\\n"))
      (utt.relation.items u 'Token))))
"""


def say(voice, items):
    """items: [(text, rate in percent)] -> [(rate_hz, samples, [(start, end) in seconds]) or None], None where it failed or
    words cannot be told apart."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [PROGRAM % (voice, folder, folder)]
        for i, (text, rate) in enumerate(items):
            lines.append('(say "%d" "%s" %.3f)\n' % (i, re.sub(r'["\\]', "", text), 100 / rate))
        with open(folder + "/program.scm", "w", encoding="ascii", errors="ignore") as file:
            file.write("".join(lines) + "(fclose times)\n")
        subprocess.run(["festival", "-b", folder + "/program.scm"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times = {}
        if os.path.exists(folder + "/times"):
            with open(folder + "/times", encoding="ascii") as file:
                for line in file:
                    i, *edges = line.split()
                    if edges:  # else the words below a token
                        times.setdefault(int(i), []).append(span([float(edge) for edge in edges]))
        return [read("%s/%d.wav" % (folder, i), times.get(i, []), len(text.split())) for i, (text, _) in enumerate(items)]


def span(edges):
    """Where a token starts and ends, from those of its words; its marks, words that nobody says, end at 0."""
    said = [(start, end) for start, end in zip(edges[::2], edges[1::2]) if end > 0]
    return (said[0][0], said[-1][1]) if said else None


def read(path, times, n_words):
    try:
        with wave.open(path) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
            return (file.getframerate(), samples, times) if len(times) == n_words and None not in times else None
    except (OSError, EOFError, wave.Error):
        return None

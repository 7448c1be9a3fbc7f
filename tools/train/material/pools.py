"""The pools that models learn from, in the cache (`options` are those of tools/train/train); a smoke run takes the first shards
of each. Numbers are shards of 20 speakers, the seed, and the utterances of a speaker.
"""
import os

from material import domain, english, speech

SMOKE_SHARDS = 2


def _pool(options, name, shards, seed, n_each, text=None, kind=speech.Speaker):
    more = {"text": text} if text else {}
    shards = SMOKE_SHARDS if options.smoke else shards
    return speech.Pool(os.path.join(options.cache, name), shards, seed, n_each=n_each, kind=kind, **more)


def talkers(options):
    """Many voices, also such as read English with another sound."""
    return _pool(options, "speech", 24, 1, 6)


def readers(options):
    """Wide English"""
    return _pool(options, "speech-english", 64, 3, 12, english.text, speech.Reader)


def domain_readers(options):
    """Sentences of the recogniser's domain"""
    return _pool(options, "speech-domain", 52, 4, 12, domain.sentence, speech.Reader)


def _voice(name):
    """Of speakers that nobody could tell apart: rate left out, pitch and warp rounded."""
    voice, pitch, _, warp = name.split("/")
    return "%s/%d/%.2f" % (voice, 10 * round(int(pitch) / 10), 0.04 * round(float(warp) / 0.04))


def voices(options):
    """All of them, for models that tell voices apart: speakers who sound alike are one."""
    pool = talkers(options)
    for other in (readers(options), domain_readers(options)):
        pool.utterances += other.utterances
    pool.group(_voice)
    return pool

"""Conversations: who says what when, and the samples of it."""
import array
import itertools
import json
import operator
import wave

from talklib import sentences, voices
from talklib.voices import RATE_HZ

LEAD_S = 0.35       # of silence at both ends
LOUDNESS = 2600     # root mean square of what is audible, of 32768
EDGE = 0.012        # of the largest sample: what is softer at either end is cut off
KEEP = RATE_HZ // 40
QUIETEST_PCM = 200  # a text that comes out softer than this failed
LOUDEST_PCM = 29000 # room is left for noise


class Options:
    """How scenes are made."""

    def __init__(self, pool="training", flite=False, least_voices=2, most_voices=4, turns=(8, 14), overlap=0.1, snr_db=(20, 40)):
        self.pool, self.flite, self.turns, self.overlap, self.snr_db = pool, flite, turns, overlap, snr_db
        self.least_voices, self.most_voices = least_voices, most_voices


class Speaker:
    def __init__(self, random, options, name):
        self.name = name
        self.flite = options.flite and random.random() < 0.3
        if self.flite:
            self.key = random.choice(voices.FLITE)
            self.voice = "flite:" + self.key
            self.pitch = random.choice([0, random.randint(80, 220)])
        else:
            self.key = random.choice(voices.HELD_OUT if options.pool == "held-out" else voices.TRAINING)
            self.voice = "espeak:%s+%s" % (random.choice(voices.LANGUAGES[:4]), self.key)
            self.pitch = random.randint(20, 80)
        self.rate = int(random.triangular(80, 120, 95))


def speakers(random, options):
    """Different voices, A, B, ..."""
    n = random.randint(options.least_voices, options.most_voices)
    chosen = []
    while len(chosen) < n:
        speaker = Speaker(random, options, "ABCDEFGH"[len(chosen)])
        if all(speaker.key != other.key for other in chosen):
            chosen.append(speaker)
    return chosen


def trimmed(pcm, times):
    """The audible part, equally loud whoever speaks, with its words' times; None where nothing is audible."""
    peak = max(max(pcm), -min(pcm)) if pcm else 0
    if peak < QUIETEST_PCM:
        return None
    loud = int(EDGE * peak)
    first = next(i for i, x in enumerate(pcm) if abs(x) > loud)
    last = next(i for i in range(len(pcm) - 1, -1, -1) if abs(pcm[i]) > loud)
    start, end = max(0, first - KEEP), min(len(pcm), last + KEEP)
    part = [x for x in pcm[first:last] if abs(x) > 2 * loud]
    gain = min(LOUDNESS / (sum(x * x for x in part) / len(part)) ** 0.5, LOUDEST_PCM / peak)
    samples = array.array("h", (int(x * gain) for x in pcm[start:end]))
    times = [(min(max(a, first), last) - start, min(b, last) - start) for a, b in times]
    return samples, times


def utterance(random, synthesisers, speaker):
    """(text, samples, times); texts whose words come out as one are drawn anew."""
    while True:
        text = sentences.sentence(random)
        pcm, times = synthesisers.say(speaker.voice, speaker.rate, speaker.pitch, text)
        said = trimmed(pcm, times) if times else None
        if said and all(a < b for a, b in said[1]):
            return (text, *said)


def segment(speaker, text, times, at):
    words = [{"word": word, "start": round((at + a) / RATE_HZ, 4), "end": round((at + b) / RATE_HZ, 4)}
             for word, (a, b) in zip(text.split(), times)]
    return {"speaker": speaker.name, "voice": speaker.voice, "start": words[0]["start"], "end": words[-1]["end"],
            "text": text, "words": words}


def mix(pcm, samples, at):
    """Adds samples from `at` on; pcm grows."""
    pcm.extend(itertools.repeat(0, at - len(pcm)))
    both = min(len(pcm) - at, len(samples))
    pcm[at:at + both] = array.array("h", (max(-LOUDEST_PCM, min(LOUDEST_PCM, a + b))
                                          for a, b in zip(pcm[at:at + both], samples)))
    pcm.extend(samples[both:])


def with_noise(random, pcm, snr_db):
    """White noise of half a second, over and over."""
    sigma = LOUDNESS * 10 ** (-snr_db / 20)
    noise = [max(-3000, min(3000, round(random.gauss(0, sigma)))) for _ in range(RATE_HZ // 2 + random.randrange(1000))]
    return array.array("h", map(operator.add, pcm, itertools.cycle(noise)))


def conversation(random, synthesisers, options, least_s=0):
    """(samples, segments, speakers), at least so many seconds long"""
    cast = speakers(random, options)
    pcm, segments, last = array.array("h"), [], None
    at = int(LEAD_S * RATE_HZ)
    n_turns = random.randint(*options.turns)
    for turn in itertools.count():
        if turn >= n_turns and len(pcm) >= least_s * RATE_HZ:
            break
        speaker = cast[turn] if turn < len(cast) else random.choice([s for s in cast if s is not last])
        if last and random.random() < options.overlap:  # into the other's last word or two
            earliest = int(segments[-1]["start"] * RATE_HZ)
            at = max(earliest, len(pcm) - int(random.uniform(0.2, 0.8) * RATE_HZ))
        for _ in range(random.choice((1, 1, 2))):
            text, samples, times = utterance(random, synthesisers, speaker)
            segments.append(segment(speaker, text, times, at))
            mix(pcm, samples, at)
            at = len(pcm) + int(random.uniform(0.15, 0.7) * RATE_HZ)
        last = speaker
    pcm.extend(itertools.repeat(0, int(LEAD_S * RATE_HZ)))
    return with_noise(random, pcm, random.uniform(*options.snr_db)), segments, cast


def rttm(name, segments):
    return "".join("SPEAKER %s 1 %.4f %.4f <NA> <NA> %s <NA> <NA>\n" % (
        name, s["start"], s["end"] - s["start"], s["speaker"]) for s in segments)


def write(folder, name, pcm, segments, cast):
    """NAME.wav, .rttm, .json (transcript/1 with words) and .txt"""
    base = "%s/%s" % (folder, name)
    with wave.open(base + ".wav", "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(pcm.tobytes())
    texts = [s["text"] for s in segments]
    root = {"language": "en", "duration": len(pcm) / RATE_HZ, "text": " ".join(texts),
            "voices": {s.name: s.voice for s in cast}, "segments": [dict(s, id=i) for i, s in enumerate(segments)]}
    with open(base + ".json", "w", encoding="utf-8") as file:
        json.dump(root, file)
    for extension, text in ((".rttm", rttm(name, segments)), (".txt", "\n".join(texts) + "\n")):
        with open(base + extension, "w", encoding="utf-8") as file:
            file.write(text)

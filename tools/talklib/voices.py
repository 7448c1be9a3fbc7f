"""Voices that say when each word begins and ends: espeak-ng and, where installed, flite, through their libraries.

A voice is "espeak:LANGUAGE+VARIANT" or "flite:NAME". TRAINING are for training and for choosing constants, HELD_OUT for
tests alone: nothing may be fitted to them.
"""
import array
import ctypes
import ctypes.util

RATE_HZ = 22050  # of everything said, that of espeak-ng

LANGUAGES = "en-us en en-gb-x-rp en-gb-scotland en-gb-x-gbclan en-us-nyc en-029".split()
TRAINING = ("m1 m2 m3 m4 m5 m7 m8 f1 f2 f3 f5 Alex Andrea Annie antonio aunty belinda benjamin boris caleb david Denis Diogo "
            "ed edward Gene gustave Henrique Hugo Jacky john Lee linda Marco Mario max Michael michel miguel Mike Nguyen pablo "
            "paul pedro quincy rob robert sandro shelby steph travis victor zac klatt klatt2 klatt3 klatt4 grandma grandpa "
            "anika").split()
HELD_OUT = "f4 m6 Alicia Andy steph3 AnxiousAndy edward2 iven iven3 kaukovalta marcelo norbert".split()
FLITE = "awb kal16 rms slt".split()


class Missing(Exception):
    """A synthesiser is not installed; the message says what to do."""


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint), ("text_position", ctypes.c_int),
                ("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
                ("user_data", ctypes.c_void_p), ("id", _Id)]


_WORD, _PHONEME = 1, 7
_RATE, _VOLUME, _PITCH = 1, 2, 3
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def _library(name, package):
    try:
        return ctypes.CDLL(name)
    except OSError:
        raise Missing("%s is not installed; on Debian and Ubuntu: apt-get install %s" % (name, package)) from None


def token_spans(text):
    """[(first character, behind the last)] of the words that blanks separate."""
    spans, at = [], 0
    for token in text.split(" "):
        if token:
            spans.append((at, at + len(token)))
        at += len(token) + 1
    return spans


class Espeak:
    def __init__(self, data=None):
        """data: the folder of another espeak-ng-data."""
        self._lib = _library("libespeak-ng.so.1", "espeak-ng")
        if self._lib.espeak_Initialize(2, 0, data and data.encode(), 1) != RATE_HZ:  # synchronous, with phoneme events
            raise Missing("espeak-ng cannot start: its voices are not installed; apt-get install espeak-ng-data")
        self._callback = _CALLBACK(self._take)
        self._lib.espeak_SetSynthCallback(self._callback)
        self._voice = None

    def _take(self, samples, n, events):
        i = 0
        while events[i].type:
            event = events[i]
            if event.type == _WORD:
                self._events.append((event.sample, event.text_position - 1))
            elif event.type == _PHONEME:
                self._events.append((event.sample, None if event.id.string[:1] in (b"", b"_") else -1))
            i += 1
        if samples and n > 0:
            self._pcm.frombytes(ctypes.string_at(samples, 2 * n))
        return 0

    def say(self, voice, rate, pitch, text):
        """Samples and [(start, end)] of the words, in samples. rate: percent; pitch: 0 to 99."""
        self._events, self._pcm = [], array.array("h")
        if voice != self._voice and self._lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise Missing("espeak-ng has no voice %s" % voice)
        self._voice = voice
        self._lib.espeak_SetParameter(_RATE, rate * 175 // 100, 0)
        self._lib.espeak_SetParameter(_PITCH, pitch, 0)
        data = text.encode() + b"\0"
        self._lib.espeak_Synth(data, len(data), 0, 1, 0, 1, None, None)
        self._lib.espeak_Synchronize()
        return self._pcm, self._times(text)

    def _times(self, text):
        spans = token_spans(text)
        starts, silences = [None] * len(spans), []
        for sample, at in self._events:
            if at is None:
                silences.append(sample)
            for i, (first, end) in enumerate(spans):
                if at is not None and first <= at < end and starts[i] is None:
                    starts[i] = sample
        if not spans or None in starts:
            return None  # words said as one
        ends = starts[1:] + [len(self._pcm)]
        return [(start, min([s for s in silences if start < s < end], default=end)) for start, end in zip(starts, ends)]


class _FliteVoice(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("features", ctypes.c_void_p)]


class _FliteWave(ctypes.Structure):
    _fields_ = [("type", ctypes.c_char_p), ("rate", ctypes.c_int), ("n", ctypes.c_int), ("channels", ctypes.c_int),
                ("samples", ctypes.POINTER(ctypes.c_short))]


class Flite:
    def __init__(self):
        self._lib = _library("libflite.so.1", "libflite1")
        for name in ("flite_synth_text", "utt_relation", "relation_head", "item_next", "item_daughter", "item_as"):
            getattr(self._lib, name).restype = ctypes.c_void_p
        self._lib.utt_wave.restype = ctypes.POINTER(_FliteWave)
        self._lib.ffeature_float.restype = ctypes.c_float
        self._lib.flite_init()
        self._voices = {}

    def _voice(self, name):
        if name not in self._voices:
            library = _library("libflite_cmu_us_%s.so.1" % name, "libflite1")
            register = getattr(library, "register_cmu_us_" + name)
            register.restype = ctypes.POINTER(_FliteVoice)
            self._voices[name] = library, register(None)
        return self._voices[name][1]

    def _items(self, item):
        while item:
            yield item
            item = self._lib.item_next(ctypes.c_void_p(item))

    def _span(self, token):
        """Start and end of a token's words, seconds."""
        spans = []
        for word in self._items(self._lib.item_daughter(ctypes.c_void_p(token))):
            item = ctypes.c_void_p(self._lib.item_as(ctypes.c_void_p(word), b"SylStructure"))
            if item and self._lib.item_daughter(item):
                spans.append((
                    self._lib.ffeature_float(item, b"R:SylStructure.daughter1.daughter1.R:Segment.p.end"),
                    self._lib.ffeature_float(item, b"R:SylStructure.daughtern.daughtern.R:Segment.end")))
        return (spans[0][0], spans[-1][1]) if spans else None

    def say(self, voice, rate, pitch, text):
        """As Espeak.say(); pitch: Hz, or 0 for that of the voice."""
        v = self._voice(voice)
        features = ctypes.c_void_p(v.contents.features)
        self._lib.feat_set_float(features, b"duration_stretch", ctypes.c_float(100 / rate))
        if pitch:
            self._lib.feat_set_float(features, b"int_f0_target_mean", ctypes.c_float(pitch))
        utterance = ctypes.c_void_p(self._lib.flite_synth_text(text.encode(), v))
        wave = self._lib.utt_wave(utterance).contents
        pcm = array.array("h", ctypes.string_at(wave.samples, 2 * wave.n))
        head = self._lib.relation_head(ctypes.c_void_p(self._lib.utt_relation(utterance, b"Token")))
        spans = [self._span(token) for token in self._items(head)]
        rate_hz = wave.rate
        self._lib.delete_utterance(utterance)
        if None in spans or len(spans) != len(text.split()):
            return pcm, None
        return stretch(pcm, rate_hz), [(round(a * RATE_HZ), round(b * RATE_HZ)) for a, b in spans]


def stretch(pcm, rate_hz):
    """Samples at rate_hz, at most RATE_HZ, as RATE_HZ: linear between neighbours."""
    n = (len(pcm) - 1) * RATE_HZ // rate_hz
    positions = ((i * rate_hz // RATE_HZ, i * rate_hz % RATE_HZ) for i in range(n))
    return array.array("h", ((pcm[i] * (RATE_HZ - part) + pcm[i + 1] * part) // RATE_HZ for i, part in positions))


class Synthesisers:
    """Says texts with voices of either kind; each is loaded when it is first needed."""

    def __init__(self, data=None):
        """data: the folder of another espeak-ng-data."""
        self._loaded, self._data = {}, data

    def say(self, voice, rate, pitch, text):
        """(samples at RATE_HZ, [(start, end)]) or (samples, None) where words cannot be told apart."""
        kind, _, name = voice.partition(":")
        if kind not in self._loaded:
            self._loaded[kind] = Espeak(self._data) if kind == "espeak" else Flite()
        return self._loaded[kind].say(name, rate, pitch, text)

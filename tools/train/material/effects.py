"""What happens to a sound on its way: rooms, microphones, telephones, codecs, speed. Samples are float arrays of 16 kHz."""
import shutil
import subprocess

import numpy as np

RATE_HZ = 16000

# Of ffmpeg: the container that keeps a stream's delay where there is one, and how to encode.
CODECS = {
    "g711": ("wav", ["-ar", "8000", "-c:a", "pcm_mulaw"]),
    "adpcm": ("wav", ["-ar", "8000", "-c:a", "adpcm_ima_wav"]),
    "opus": ("ogg", ["-c:a", "libopus", "-b:a", "12k"]),
    "vorbis": ("ogg", ["-c:a", "libvorbis", "-q:a", "-1"]),
}


def power(x):
    return float(np.mean(np.square(x))) + 1e-12


def resample(x, factor):
    """x with `factor` times as many samples, band-limited: played at the same rate it is slower and lower."""
    n = int(round(len(x) * factor))
    size = 1 << (max(len(x), 2) - 1).bit_length()
    padded = np.concatenate([x, np.zeros(size - len(x))])
    target = int(round(size * factor))
    spectrum = np.fft.rfft(padded)
    kept = np.zeros(target // 2 + 1, complex)
    bins = min(len(kept), len(spectrum))
    kept[:bins] = spectrum[:bins]
    return np.fft.irfft(kept, target)[:n] * (target / size)


def filtered(x, gain):
    """x with its spectrum multiplied by gain(frequencies in Hz)."""
    return np.fft.irfft(np.fft.rfft(x) * gain(np.maximum(np.fft.rfftfreq(len(x), 1 / RATE_HZ), 1)), len(x))


def room(rng):
    """A response: the direct sound, and noise that decays by 60 dB in 0.1 to 0.8 s."""
    n = int(RATE_HZ * rng.uniform(0.1, 0.8))
    tail = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / n)
    tail *= 10 ** (rng.uniform(-20, 2) / 20) / np.sqrt(np.sum(tail ** 2))
    tail[:int(RATE_HZ * rng.uniform(0, 0.01))] = 0
    tail[0] = 1
    return tail


def channel(rng, hz):
    """Gains at frequencies `hz` (above 0): random tone controls over octaves, and now and then a telephone's band."""
    levels = rng.uniform(-9, 9, 6)
    gains = 10 ** (np.interp(np.log(hz), np.log(np.geomspace(60, 8000, 6)), levels) / 20)
    return gains * telephone(hz, rng.uniform(100, 400), rng.uniform(2800, 5000)) if rng.random() < 0.25 else gains


def telephone(hz, low_hz=300, high_hz=3400):
    return 1 / np.sqrt((1 + (low_hz / hz) ** 6) * (1 + (hz / high_hz) ** 12))


def codec(x, name):
    """x after encoding and decoding by ffmpeg; as it was where ffmpeg lacks the codec."""
    if not shutil.which("ffmpeg"):
        return x
    container, encode = CODECS[name]
    raw = ["-f", "s16le", "-ar", str(RATE_HZ), "-ac", "1"]
    start = ["ffmpeg", "-nostdin", "-loglevel", "error"]
    try:
        coded = subprocess.run(start + raw + ["-i", "-"] + encode + ["-f", container, "-"], input=to_pcm(x).tobytes(),
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
        decoded = subprocess.run(start + ["-i", "-"] + raw + ["-"], input=coded, stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL, check=True).stdout
    except subprocess.CalledProcessError:
        return x
    y = np.frombuffer(decoded, "<i2").astype(np.float32) / 32768
    return np.concatenate([y, np.zeros(max(0, len(x) - len(y)), np.float32)])[:len(x)]


def to_pcm(x):
    return np.clip(np.round(np.asarray(x) * 32768), -32768, 32767).astype("<i2")

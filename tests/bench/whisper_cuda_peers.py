#!/usr/bin/env python3
"""Hugging Face transformers beside tests/bench/whisper_cuda: random weights in the same shapes, fixed token counts.

Prints one JSON object a line: encoder milliseconds a window, milliseconds a token of one row, and windows a second at
77 tokens a window (MLPerf's mix), in float16 with sdpa attention, at batches of 24 and 256, and a static cache with
compilation where that works. Exits with 77, and says so, where torch, transformers or a card is missing.
"""

import json
import sys
import time

STEPS, WINDOW_S = 77, 23.6


def give_up(why):
    print(f"whisper_cuda_peers: not measured: {why}")
    sys.exit(77)


try:
    import torch
    import transformers
except ImportError as missing:
    give_up(missing)
if not torch.cuda.is_available():
    give_up("no card")


def say(name, **values):
    print(json.dumps({"name": f"transformers {name}", **values}), flush=True)


def timed(run, times):
    """Seconds of the fastest of several runs, behind one that warms up."""
    best = float("inf")
    for i in range(times + 1):
        torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start) if i else best
    return best


def make(layers):
    config = transformers.WhisperConfig(
        vocab_size=51866, num_mel_bins=128, encoder_layers=32, encoder_attention_heads=20, decoder_layers=layers,
        decoder_attention_heads=20, encoder_ffn_dim=5120, decoder_ffn_dim=5120, d_model=1280, max_source_positions=1500,
        max_target_positions=448, decoder_start_token_id=50258, pad_token_id=50257, bos_token_id=50257,
        eos_token_id=50257, suppress_tokens=None, begin_suppress_tokens=None)
    config._attn_implementation = "sdpa"
    with torch.device("cuda"):
        model = transformers.WhisperForConditionalGeneration(config)
    return model.half().eval()


def generate(model, features, **more):
    """The same number of tokens in every row, whatever they are."""
    start = torch.full((features.shape[0], 4), 50258, device="cuda")
    return transformers.generation.GenerationMixin.generate(
        model, features, decoder_input_ids=start, min_new_tokens=STEPS, max_new_tokens=STEPS, do_sample=False,
        use_cache=True, **more)


def measure(name, model):
    one = torch.randn(1, 128, 3000, device="cuda", dtype=torch.float16)
    for batch in (1, 16):
        mel = one.expand(batch, -1, -1).contiguous()
        say(f"{name} encode {batch}", ms_per_window=1e3 * timed(lambda: model.model.encoder(mel), 5) / batch)
    for cache in (None, "static"):
        more = {"cache_implementation": cache} if cache else {}
        for batch in (1, 24, 256):
            mel = one.expand(batch, -1, -1).contiguous()
            label = f"{name} {'static cache' if cache else 'plain'} batch {batch}"
            try:
                seconds = timed(lambda: generate(model, mel, **more), 2)
            except Exception as error:  # one setting that does not work is a result, not the end
                say(label, ok=None, note=f"not measured: {type(error).__name__}: {str(error)[:200]}")
                continue
            say(label, windows_per_s=batch / seconds, ms_per_token=1e3 * seconds / STEPS,
                real_time_factor=batch / seconds * WINDOW_S)


def main():
    say("versions", torch=torch.__version__, transformers=transformers.__version__, card=torch.cuda.get_device_name())
    with torch.inference_mode():
        for name, layers in (("large-v3", 32), ("turbo", 4)):
            model = make(layers)
            measure(name, model)
            del model
            torch.cuda.empty_cache()


main()

#!/usr/bin/env python3
"""Hugging Face transformers beside tests/gpu/bench_llm: Llama-3-8B's shape, weights of bfloat16, greedy.

    tests/bench/llm_cuda_peers.py [--tiny]

Weights are made on the card and stay what that leaves: zeros cost what others cost. One request with a prompt of 128 tokens and
64 requests with prompts of 32; a prompt of 2048 alone. Tokens a second leave the prompt out: the time of N tokens less that of
one, which comes with the prompt. With a cache that grows, and with a static one, which transformers compiles, where that
works. Prints one JSON object a line. --tiny: a small shape, on the processor where there is no card, to try the program.
Exits with 77, and says so, where torch, transformers or a card is missing.
"""
import argparse
import json
import sys
import time

SHAPES = {
    "llama-3-8b": dict(vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
                       num_attention_heads=32, num_key_value_heads=8),
    "tiny": dict(vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=2),
}
RUNS = {"llama-3-8b": [(1, 128, 128), (64, 32, 64)], "tiny": [(1, 8, 4), (3, 4, 4)]}  # requests, tokens of prompt, of answer
LONG = {"llama-3-8b": 2048, "tiny": 16}


def give_up(why):
    print(f"llm_cuda_peers: not measured: {why}")
    sys.exit(77)


def say(name, **values):
    print(json.dumps({"name": f"transformers {name}", **values}), flush=True)


def make(torch, transformers, shape, device):
    config = transformers.LlamaConfig(**SHAPES[shape], max_position_embeddings=8192, rope_theta=500000.0, bos_token_id=1,
                                      eos_token_id=2, pad_token_id=0, tie_word_embeddings=False)
    config._attn_implementation = "sdpa"
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    model = model.to_empty(device=device).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    # what is no parameter has to be made again: the frequencies of positions
    model.model.rotary_emb = type(model.model.rotary_emb)(config=config, device=device)
    return model


class Peer:
    def __init__(self, torch, model, device):
        self.torch, self.model, self.device = torch, model, device

    def wait(self):
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def seconds(self, n_requests, n_prompt, n_tokens, cache, times=2):
        """Of the fastest of some runs, behind one that warms up."""
        best = float("inf")
        more = {"cache_implementation": cache} if cache else {}
        for i in range(times + 1):
            prompt = self.torch.randint(3, self.model.config.vocab_size, (n_requests, n_prompt), device=self.device)
            self.wait()
            start = time.perf_counter()
            out = self.model.generate(prompt, attention_mask=self.torch.ones_like(prompt), min_new_tokens=n_tokens,
                                      max_new_tokens=n_tokens, do_sample=False, use_cache=True, **more)
            self.wait()
            assert out.shape == (n_requests, n_prompt + n_tokens)
            best = min(best, time.perf_counter() - start) if i else best
        return best

    def measure(self, name, cache):
        for n_requests, n_prompt, n_tokens in RUNS[name]:
            label = f"{name}, {'static cache' if cache else 'growing cache'}, {n_requests} at a time"
            try:
                first = self.seconds(n_requests, n_prompt, 1, cache)
                whole = self.seconds(n_requests, n_prompt, n_tokens, cache)
            except Exception as error:  # one setting that does not work is a result, not the end
                say(label, ok=None, note=f"not measured: {type(error).__name__}: {str(error)[:200]}")
                continue
            say(label, tokens_per_s=n_requests * (n_tokens - 1) / max(whole - first, 1e-9), at_once=n_requests)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--tiny", action="store_true", help="a small shape, on the processor where there is no card")
    args = parser.parse_args()
    try:
        import torch
        import transformers
    except ImportError as missing:
        give_up(missing)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not args.tiny:
        give_up("no card")
    transformers.logging.set_verbosity_error()
    name = "tiny" if args.tiny else "llama-3-8b"
    say(f"{name}, versions", torch=torch.__version__, transformers=transformers.__version__,
        card=torch.cuda.get_device_name() if device == "cuda" else device)
    with torch.inference_mode():
        peer = Peer(torch, make(torch, transformers, name, device), device)
        peer.measure(name, None)
        say(f"{name}, prompt of {LONG[name]}", prompt_tokens_per_s=LONG[name] / peer.seconds(1, LONG[name], 1, None))
        peer.measure(name, "static")


if __name__ == "__main__":
    main()

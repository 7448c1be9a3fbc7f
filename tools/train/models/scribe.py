"""scribe-synth: a small language model in the shape of Llama for three things: punctuation, facts, a summary.

What it is asked comes as one token for the task and the text; the chat template makes that of the prompts of llm/punctuate,
llm/extract and llm/summarize, so that it need not read them. The loss is that of answers, and a tenth of that of questions.
"""
import json
import os
import random

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn

from material import minutes
from training import folder

WIDTH, LAYERS, HEADS, INNER, VOCABULARY, CONTEXT = 160, 4, 5, 432, 1536, 1024
THETA = 10000.0
SPECIAL = ["<|end|>", "<|punctuate|>", "<|extract|>", "<|summarize|>", "<|answer|>"]
END, PUNCTUATE, EXTRACT, SUMMARIZE, ANSWER = range(5)
LONGEST = 640  # tokens of what is trained on

TEMPLATE = """{%- set text = messages[-1]['content'] -%}
{%- if 'punctuation' in messages[0]['content'] and messages[0]['role'] == 'system' -%}<|punctuate|> {{ text | trim }}
{%- elif text.startswith('Extract') -%}<|extract|> {{ text.split('\\n\\n')[-1] | trim }}
{%- else -%}<|summarize|> {{ text.split('\\n\\n')[-1] | trim }}
{%- endif -%}<|answer|>"""


# ---- text ----

# Half of what is trained on is short: copying is learned there first.
def punctuation(r):
    text = minutes.paragraph(r, r.choice((160, 560)))
    return "<|punctuate|> ", minutes.bare(text) if r.random() < 0.75 else minutes.roughened(r, text), " " + text


def meeting(r):
    return minutes.meeting(r, *r.choice(((1, 4), (5, 12))))


def extraction(r):
    turns = meeting(r)
    return "<|extract|> ", minutes.transcript(turns).strip(), json.dumps(minutes.facts_of(turns))


def summary(r):
    turns = meeting(r)
    return "<|summarize|> ", minutes.transcript(turns).strip(), " " + minutes.summary(turns)


TASKS = {"punctuate": punctuation, "extract": extraction, "summarize": summary}


def learn_tokenizer(path, seed=5, count=20000):
    """Byte-level byte pairs, texts cut as GPT-2 does."""
    r = random.Random(seed)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    texts = []
    for _ in range(count // 4):
        for make in (punctuation, punctuation, extraction, summary):
            task, question, answer = make(r)
            texts += [task[-1] + question, answer]
    tokenizer.train_from_iterator(texts, trainer)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    tokenizer.save(path)
    return tokenizer


# ---- network ----

def turned(x, cos, sin):
    """Rotary positions on both halves, as Hugging Face orders them."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class RmsNorm(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))

    def forward(self, x):
        return x * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))

    def forward(self, x, cos, sin):
        q, k, v = (p(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        y = F.scaled_dot_product_attention(turned(q, cos, sin), turned(k, cos, sin), v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(WIDTH, INNER, bias=False), nn.Linear(WIDTH, INNER, bias=False)
        self.down_proj = nn.Linear(INNER, WIDTH, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.self_attn, self.mlp = Attention(), Mlp()
        self.input_layernorm, self.post_attention_layernorm = RmsNorm(WIDTH), RmsNorm(WIDTH)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Network(nn.Module):
    """Parameters have the names of Hugging Face's Llama behind "model."."""

    def __init__(self, n_tokens):
        super().__init__()
        self.embed_tokens = nn.Embedding(n_tokens, WIDTH)
        nn.init.normal_(self.embed_tokens.weight, std=0.05)
        self.layers, self.norm = nn.ModuleList([Layer() for _ in range(LAYERS)]), RmsNorm(WIDTH)
        half = WIDTH // HEADS // 2
        angles = torch.arange(CONTEXT)[:, None] * THETA ** (-torch.arange(half) / half)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, ids):
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, self.cos[:ids.shape[1]], self.sin[:ids.shape[1]])
        return F.linear(self.norm(x), self.embed_tokens.weight)


class Task:
    name = "scribe-synth"
    rate, muon_rate, decay, clip = 3e-3, 0.01, 0.01, 1.0
    smoke_steps, smoke_loss = 80, 4.0

    def __init__(self, options):
        self.tokens = 2048 if options.smoke else 4096  # of a batch, about
        path = os.path.join(options.cache, "scribe", "tokenizer.json")
        self.tokenizer = Tokenizer.from_file(path) if os.path.exists(path) else learn_tokenizer(path)
        self.material = "conversations of a grammar, drawn anew for each step; %d tokens a step" % self.tokens

    def network(self):
        return Network(self.tokenizer.get_vocab_size())

    @staticmethod
    def is_matrix(name):
        return name.startswith("layers.")

    def row(self, r, make):
        task, question, answer = make(r)
        asked = self.tokenizer.encode(task + question + "<|answer|>").ids
        return asked, self.tokenizer.encode(answer).ids + [END]

    def batch(self, rng):
        """Rows of one task: tokens, and what each next one counts."""
        r, rows, width = random.Random(int(rng.integers(1 << 40))), [], 0
        make = TASKS[r.choice(["punctuate", "punctuate", "extract", "summarize"])]
        most = r.choice((160, LONGEST))
        while not rows or (len(rows) + 1) * width < self.tokens:
            asked, answer = self.row(r, make)
            if len(asked) + len(answer) <= most:
                rows.append((asked, answer))
                width = max(width, len(asked) + len(answer))
        ids, weights = torch.full((len(rows), width), END), torch.zeros(len(rows), width)
        for i, (asked, answer) in enumerate(rows):
            n, m = len(asked), len(asked) + len(answer)
            ids[i, :m] = torch.tensor(asked + answer)
            weights[i, 1:n], weights[i, n:m] = 0.1, 1.0
        return ids, weights

    def finish(self, path):
        self.tokenizer.save(os.path.join(path, "tokenizer.json"))

    def loss(self, network, ids, weights):
        """Nats for a token of answers; that of questions counts for a tenth."""
        scores = network(ids[:, :-1]).float()
        each = F.cross_entropy(scores.flatten(0, 1), ids[:, 1:].flatten(), reduction="none") * weights[:, 1:].flatten()
        return each.sum() / (weights == 1).sum()


def export(network, path):
    state = {"model." + name: value for name, value in network.state_dict().items()}
    folder.write_safetensors(os.path.join(path, "model.safetensors"), folder.arrays(state))
    n = network.embed_tokens.weight.shape[0]
    folder.write_json(os.path.join(path, "config.json"), {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float16", "hidden_act": "silu",
        "vocab_size": n, "hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5, "rope_theta": THETA, "tie_word_embeddings": True, "bos_token_id": END, "eos_token_id": END})
    folder.write_json(os.path.join(path, "generation_config.json"), {"eos_token_id": END, "bos_token_id": END})
    folder.write_json(os.path.join(path, "tokenizer_config.json"), {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": SPECIAL[END], "model_max_length": CONTEXT,
        "chat_template": TEMPLATE})

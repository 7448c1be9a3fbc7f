#!/usr/bin/env python3
"""Writes tests/data/expected/chat.json: what jinja2 makes of the templates in tests/data/chat and of snippets.

    python3 -m venv venv && venv/bin/pip install jinja2==3.1.6
    venv/bin/python tools/reference/chat.py

The environment is the one in which transformers renders chat templates: a sandbox with trim_blocks and lstrip_blocks, loop
controls, its own tojson, raise_exception and strftime_now.
"""
import json
import os
from datetime import datetime, timezone

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NOW = 1730000000  # the clock of the tests, in UTC

TOOLS = [{"type": "function", "function": {"name": "get_time", "description": "The time in a place: \"now\" <there>",
          "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}}},
         {"type": "function", "function": {"name": "pi", "description": "π", "parameters": {"digits": 3.5, "x": [1, None, True]}}}]
SYSTEM = {"role": "system", "content": "  Be short.\n"}
TALK = [{"role": "user", "content": " Grüße! Was ist 1+1? "}, {"role": "assistant", "content": "<think>\neasy\n</think>\n\n2"},
        {"role": "user", "content": "{{ thanks }} {% if %} <|im_end|> 東京"}]
CALL = [{"role": "user", "content": "Time?"},
        {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {
            "name": "get_time", "arguments": {"place": "Köln", "n": 1}}}]},
        {"role": "tool", "content": "noon"}, {"role": "tool", "content": "12:00"}]
PARTS = [{"role": "user", "content": [{"type": "text", "text": " one "}, {"type": "image"}, {"type": "text", "text": "two"}]}]
CONVERSATIONS = {"talk": TALK, "system": [SYSTEM] + TALK, "one": TALK[:1], "call": CALL, "parts": PARTS,
                 "wrong order": [TALK[1], TALK[0]], "ends with answer": TALK[:2]}

SNIPPETS = """
{{ 1 + 2 * 3 ** 2 - 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 1e3 }} {{ 0.1 + 0.2 }} {{ 1_000 }}
{{ 1.0 }} {{ 1e16 }} {{ 1e15 }} {{ 0.0001 }} {{ 0.00001 }} {{ 123456789.125 }} {{ -0.0 }} {{ 5 // 2.0 }} {{ -5.5 % 2 }}
{{ true }} {{ false }} {{ none }} {{ True and None }} {{ 0 or 'x' }} {{ not 1 }} {{ 1 and 2 }} {{ '' or [] or 'last' }}
{{ 'a' 'b' }} {{ 'a' ~ 1 ~ none }} {{ 'a' + 'b' }} {{ 'ab' * 3 }} {{ [1] + [2] }} {{ [0] * 3 }} {{ 3 * 'x' }}
{{ [1, 'a', none, true, 1.5, {'k': [(1,), (1, 2)]}] }} {{ () }} {{ {} }} {{ "it's" }} {{ ["it's", 'say "x"', 'a\\nb\\t\\\\'] }}
{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 1 == 1.0 }} {{ 'a' != 'b' }} {{ 1 in [1] }} {{ 1 not in [1] }} {{ 'b' in 'abc' }} {{ 'k' in {'k': 1} }}
{{ [1, 2] < [1, 3] }} {{ 'a' < 'b' }} {{ (1, 2) == (1, 2) }} {{ [1] == (1,) }} {{ {'a': 1} == {'a': 1.0} }} {{ true == 1 }}
{{ 'abcdef'[1] }} {{ 'abcdef'[-1] }} {{ 'abcdef'[1:3] }} {{ 'abcdef'[::-1] }} {{ 'abcdef'[::2] }} {{ 'abcdef'[-3:] }} {{ 'äöü€😀'[1:4] }}
{{ [1,2,3,4][1:] }} {{ [1,2,3,4][:-1] }} {{ [1,2,3,4][::-1] }} {{ [1,2,3,4][3:0:-2] }} {{ [1,2,3][9:] }} {{ [1,2,3][-9:2] }} {{ (1,2,3)[1:] }}
{{ 'x' if true else 'y' }} {{ 'x' if false }} {{ 'a' if false else 'b' if false else 'c' }} {{ ('x' if 1) is defined }}
{{ missing }}|{{ missing is defined }}|{{ missing is undefined }}|{{ missing | default('d') }}|{{ '' | default('d') }}|{{ '' | default('d', true) }}
{{ missing == missing2 }} {{ missing | length }} {{ missing | list }} {% for x in missing %}x{% else %}none{% endfor %} {{ d.nothing is defined }}
{{ d.a }} {{ d['a'] }} {{ d.get('a') }} {{ d.get('z') }} {{ d.get('z', 5) }} {{ d.items() | list }} {{ d.keys() | list }} {{ d.values() | list }}
{{ d.items }} {{ d['items'] }}{# a method and an item #}
{{ l.0 }} {{ l[0] }} {{ l[7] is defined }} {{ l | first }} {{ l | last }} {{ l | length }} {{ l | count }} {{ l | join(', ') }} {{ l | sum if false else '' }}
{{ ' x ' | trim }}| {{ 'xxaxx' | trim('x') }} {{ 'ab' | upper }} {{ 'ÄÖ Straße' | lower }} {{ 'hello wORLD' | title }} {{ 'hELLO' | capitalize }}
{{ 'a-b-c'.split('-') }} {{ 'a-b-c'.split('-', 1) }} {{ ' a  b '.split() }} {{ 'a-b-c'.rsplit('-', 1) }} {{ ''.split() }} {{ ''.split(',') }} {{ 'a b c'.split(none, 1) }}
{{ '..a..'.strip('.') }} {{ '\\n a \\n'.lstrip() }}| {{ 'a\\n\\n'.rstrip('\\n') }}| {{ 'abc'.startswith('ab') }} {{ 'abc'.endswith(('x', 'c')) }} {{ 'aXbX'.replace('X', '-') }} {{ 'aXbX'.replace('X', '-', 1) }}
{{ 'abcabc'.find('c') }} {{ 'abcabc'.rfind('c') }} {{ 'abc'.find('z') }} {{ 'aaa'.count('a') }} {{ '12'.isdigit() }} {{ 'a1'.isalpha() }} {{ '-'.join(['a', 'b']) }} {{ 'a\\nb\\n'.splitlines() }}
{{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x.txt'.removesuffix('.txt') }} {{ 'title case'.title() }} {{ 'Abc'.upper() }}{{ 'Abc'.lower() }}
{{ d | tojson }} {{ [1, 2.5, none, true, 'ä"\\n\\\\</s>'] | tojson }} {{ {'a': [], 'b': {}} | tojson(indent=2) }} {{ [1, [2, {'k': 'v'}]] | tojson(indent=4) }}
{{ 'ä😀' | tojson(ensure_ascii=true) }} {{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }} {{ [1, 2] | tojson(separators=(',', ':')) }}
{{ [3, 1, 2] | sort }} {{ ['b', 'A', 'c'] | sort }} {{ [3, 1, 2] | sort(reverse=true) }} {{ users | sort(attribute='age') | map(attribute='name') | list }} {{ d | dictsort }}
{{ [1, 2, 3] | reverse | list }} {{ 'abc' | reverse }} {{ [1, 1, 2] | unique | list }} {{ ['a', 'b'] | map('upper') | list }} {{ [0, 1, 2] | select | list }} {{ [1, 2, 3] | select('odd') | list }} {{ [1, 2, 3] | reject('gt', 1) | list }}
{{ users | selectattr('admin') | map(attribute='name') | join(',') }} {{ users | selectattr('age', 'ge', 30) | list | length }} {{ users | rejectattr('admin') | list | length }} {{ users | map(attribute='nope', default='-') | list }}
{{ '3' | int }} {{ '3.7' | int }} {{ 'x' | int }} {{ 'x' | int(9) }} {{ '2.5' | float }} {{ -3 | abs }} {{ 5 | string + '!' }} {{ [1] | string }} {{ 3.9 | int }}
{{ 'a\\nb' | indent }} {{ 'a\\nb' | indent(2, true) }} {{ 'a' | replace('a', 'b') }} {{ 'a' | safe }} {{ {'a': 1} | items | list }}
{{ 1 is number }} {{ 1.5 is float }} {{ true is boolean }} {{ 'a' is string }} {{ [] is iterable }} {{ {} is mapping }} {{ [] is sequence }} {{ 3 is odd }} {{ 4 is even }} {{ 6 is divisibleby 3 }} {{ 1 is not none }} {{ 2 is eq 2 }} {{ 1 is in [1] }} {{ true is integer }}
{{ none is none and true is true }} {{ not missing is defined }} {{ 1 + 1 is number }} {{ false is false }}
{% for x in [1, 2, 3] %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('a', 'b') }};{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %} {% for a, b in [(1, 2), [3, 4]] %}{{ a + b }},{% endfor %} {% for c in 'añ' %}{{ c }}.{% endfor %} {% for k in d %}{{ k }}{% endfor %}
{% for x in range(10) if x is odd %}{{ x }}{{ loop.length }} {% endfor %}{% for x in range(3, 0, -1) %}{{ x }}{% endfor %}{% for x in range(2, 5) %}{{ x }}{% endfor %}{% for x in [] %}{% else %}empty{% endfor %}
{% for x in range(9) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}
{% for x in [1, 2] %}{% for y in [3, 4] %}{{ loop.depth }}{{ x }}{{ y }} {% endfor %}{% endfor %}
{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{{ x }}{% endfor %}{{ x }} {% set ns = namespace(x=1) %}{% for i in [1] %}{% set ns.x = ns.x + 1 %}{% endfor %}{{ ns.x }} {% if true %}{% set x = 3 %}{% endif %}{{ x }}
{% set a, b = 1, 2 %}{{ a }}{{ b }} {% set t = 1, 2 %}{{ t }} {% set block %}in {{ a }}{% endset %}{{ block }}! {% set loud | upper %}abc{% endset %}{{ loud }}
{% macro m(a, b='d', c=none) %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, 2) }} {{ m(1, c=3) }} {{ m(a=5) }} {{ m('x') | upper }}
{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}
{% filter upper %}abc {{ 'def' }}{% endfilter %} {% filter trim | replace('a', 'b') %} a {% endfilter %}
  {% if true %}
    indented
  {% endif %}
  after
{%- if true -%}   tight   {%- endif %}   loose   {%+ if true %} plus {% endif +%}
a {#- comment -#} b {# c #} d
x   {{- 1 -}}   y   {{ 2 }}   z
{{ '{{' }} {{ "%}" }} {{ {'a': {'b': 1}}['a']['b'] }} {{ "a" "b" 'c' }} {{ '\\u00e4\\x41\\t|' }}
{{ strftime_now('%Y-%m-%d') }} {{ raise_exception('stop') if false else 'go' }} {{ dict(a=1, b='x') }} {{ dict(d, z=3).z }}
{{ (1, 2) }} {{ 1, 2 }} {{ [1, 2,] }} {{ {'a': 1,} }} {{ (1) }} {{ (1,) }}
{{ namespace(a=1).a }} {{ ('a' ~ 'b') | upper }} {{ 'a' ~ 'b' | upper }} {{ 1 ~ 2 + 3 }} {{ -1 | abs }} {{ 2 * -3 }}
{{ users[0].name }} {{ users[-1]['name'] }} {{ (users | first).name }} {{ users[0]['tags'][1] }} {{ users | map(attribute='tags') | map('join', '+') | list }}
{% generation %}answer{% endgeneration %}{{ 'x' * 0 }}{{ '' | length }} {{ 'äöü' | length }} {{ '😀' | length }}
{{ none | default('n') }} {{ none | string }} {{ [none] | join }} {{ {'x': none}.x is none }} {{ 'None' == none | string }}
{{ d.a.b is defined }} {{ (d.a.b | default('deep')) }} {{ 'abc'.nothing is defined }}
"""

FAILING = ["{{ 1 / 0 }}", "{{ missing.attribute }}", "{{ missing + 1 }}", "{{ 'a' + 1 }}", "{{ raise_exception('no tools here') }}", "{% for a, b in [1] %}{% endfor %}",
           "{{ missing() }}", "{{ 5() }}", "{{ 'a' < 1 }}", "{% set d.x = 1 %}", "{{ {[]: 1} }}", "{{ 5 | length }}", "{% for x in 5 %}{% endfor %}", "{% if %}", "{{ 1 +", "{{ 'open",
           "{% endif %}", "{% for x in y %}", "{{ }}", "{{ a b }}", "{% if x %}{% else %}{% else %}{% endif %}", "{# open", "{{ 1 | nothing }}", "{{ 1 is nothing }}", "{% nothing %}"]


def environment():
    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    class Generation(jinja2.ext.Extension):
        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            return jinja2.nodes.Scope(parser.parse_statements(["name:endgeneration"], drop_needle=True), lineno=line)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda format: datetime.fromtimestamp(NOW, timezone.utc).strftime(format)
    return env


def render(env, source, variables):
    try:
        return {"text": env.from_string(source).render(**variables)}
    except Exception as error:  # whatever the sandboxed template makes of it
        return {"error": type(error).__name__}


def families(env):
    folder = os.path.join(SOURCE, "tests/data/chat")
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            source = f.read()
        for conversation, messages in CONVERSATIONS.items():
            for extra in ({}, {"add_generation_prompt": True}, {"add_generation_prompt": True, "tools": TOOLS, "enable_thinking": False}):
                variables = {"messages": messages, "bos_token": "<s>", "eos_token": "</s>", **extra}
                yield {"name": f"{name}: {conversation}", "file": name, "variables": variables, **render(env, source, variables)}


def snippets(env):
    variables = {"d": {"a": 1, "b": "x", "items": "mine"}, "l": [1, "two", None],
                 "users": [{"name": "Bo", "age": 41, "admin": True, "tags": ["x", "y"]}, {"name": "Al", "age": 20, "admin": False, "tags": []}]}
    lines = SNIPPETS.strip("\n").split("\n")
    for source in lines + ["\n".join(lines[i:i + 3]) for i in range(0, len(lines) - 2, 3)] + FAILING:
        yield {"name": source, "source": source, "variables": variables, **render(env, source, variables)}


def main():
    env = environment()
    cases = [c for c in list(families(env)) + list(snippets(env)) if "<built-in method" not in c.get("text", "")]
    path = os.path.join(SOURCE, "tests/data/expected/chat.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"jinja2": jinja2.__version__, "now": NOW, "cases": cases}, f, ensure_ascii=False, indent=0)
        f.write("\n")
    print(f"{len(cases)} cases, {sum('error' in c for c in cases)} of them errors")


if __name__ == "__main__":
    main()

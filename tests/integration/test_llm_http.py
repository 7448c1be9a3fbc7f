"""The stages of llm_http with a server on the loopback interface: answers, faults, what is sent, and what is never said."""
import collections
import ssl

from chat import Chat
from harness import *

SEGMENTS = [(0, 1, " so we met anna", "A"), (1, 2, " she said hello", "A"), (2, 3, " good morning", "B")]
KEY = "sk-very-secret-0123456789"


class Http(Case):
    confined = True

    def setUp(self):
        super().setUp()
        self.chat = Chat("All is fine.")
        segments = [{"start": s, "end": e, "text": t, "speaker": who} for s, e, t, who in SEGMENTS]
        self.write("talk.json", json.dumps({"language": "en", "segments": segments}))

    def tearDown(self):
        self.chat.close()
        super().tearDown()

    def make(self, stage="summarize", network="true", more="", endpoint=None, timeout=1):
        self.write("p.yaml", f"""
sluice: 1
inputs: {{ transcript: {{ type: transcript/1 }} }}
outputs:
  out:
    use: llm_http/{stage}
    in: {{ transcript: inputs.transcript }}
    network: {network}
    retry: {{ attempts: 1 }}
    with: {{ endpoint: "{endpoint or self.chat.url}"{more}, timeout: {timeout}s }}
""")

    def ask(self, *args, status=0, env=None, **keys):
        self.make(*args, **keys)
        done = self.sluice("run", "p.yaml", "talk.json", "-o", "out", status=status, env=env)
        return self.read("out/talk.out") if status == 0 else done.stderr

    def test_what_is_asked_and_answered(self):
        self.chat.answer = "  They met \U0001F600 Anna.\n"
        more = ', model: tiny, max_tokens: 30, temperature: 0.5, seed: 7, extra: { top_k: 3, stream_options: null }'
        self.assertEqual(self.ask(more=more), "They met \U0001F600 Anna.\n")
        body, = self.chat.requests
        self.assertEqual([m["role"] for m in body["messages"]], ["system", "user"])
        self.assertIn("A: so we met anna she said hello\nB: good morning\n", body["messages"][1]["content"])
        for key, value in dict(model="tiny", max_tokens=30, temperature=0.5, seed=7, top_k=3, stream=True).items():
            self.assertEqual(body[key], value)
        self.assertNotIn("stream_options", body)
        self.assertEqual(self.chat.keys, [None])

    def test_a_server_that_does_not_stream(self):
        self.chat.faults = ["whole"]
        self.assertEqual(self.ask("generate", more=', prompt: "Who? {text}", stop: [zzz]'), "All is fine.\n")
        self.assertEqual(self.chat.requests[0]["stop"], ["zzz"])
        self.assertIn("Who? so we met anna\nshe said hello\ngood morning\n", self.chat.requests[0]["messages"][0]["content"])

    def test_what_passes_is_tried_again(self):
        self.chat.faults = ["status:429:retry-after:1", "cut"]
        self.assertEqual(self.ask(more=", attempts: 3"), "All is fine.\n")
        self.assertEqual(len(self.chat.requests), 3)
        self.assertEqual(len({json.dumps(r) for r in self.chat.requests}), 1)

    def test_what_stays_is_said(self):
        """Fault, attempts, class and what the message says."""
        cases = [("status:503", 2, "transient", "status 503: not now"), ("status:400", 1, "input", "status 400: not now"),
                 ("status:401", 1, "input", "is the `key` right?"), ("status:307", 1, "input", "points elsewhere"),
                 ("cut", 1, "transient", "broke off"), ("stall", 1, "transient", "silent for 1 s"),
                 ("garbage", 1, "unsupported", "not JSON"), ("noise", 1, "unsupported", "not JSON"),
                 ("error", 1, "transient", "the model fell over"), ("huge", 1, "resource", "larger than 64 MiB"),
                 ("filter", 1, "input", "withholds"), ("flood", 1, "transient", "status 503: busy busy")]
        for fault, n, kind, text in cases:
            with self.subTest(fault=fault):
                self.chat.faults, self.chat.requests = [fault] * n, []
                said = self.ask(status=1, more=f", attempts: {n}")
                self.assertIn(text, said)
                self.assertEqual(len(self.chat.requests), n)
                self.assertEqual(self.attempts("out")[0]["class"], kind)

    def test_nobody_is_there(self):
        self.chat.close()
        said = self.ask(status=1, more=", attempts: 1")
        self.assertRegex(said, r"http://127\.0\.0\.1:\d+, attempt 1 of 1: Failed to connect")

    def test_the_key_is_sent_and_never_said(self):
        self.write("key", KEY + "\nsecond line\n")
        env = {"TEST_CHAT_KEY": KEY}
        for where in ("{ env: TEST_CHAT_KEY }", f"{{ file: {self.path('key')} }}"):
            self.chat.keys = []
            self.ask(more=f", key: {where}", env=env)
            self.assertEqual(self.chat.keys, [f"Bearer {KEY}"])
        self.chat.faults = ["status:400"] * 2
        said = self.ask(status=1, more=", key: { env: TEST_CHAT_KEY }", env=env)
        self.assertIn("not now, Bearer ***", said)
        os.remove(self.path("key"))
        for at, _, names in os.walk(self.folder):
            for name in names:
                with open(os.path.join(at, name), "rb") as f:
                    self.assertNotIn(KEY.encode(), f.read(), name)
        self.assertIn("expected a number, a list or a map", self.ask(status=2, more=f", key: {KEY}"))
        for key, text in (("{ key: x }", "not the key itself"), ("{ env: NO_SUCH_KEY }", "NO_SUCH_KEY is not set"),
                          ("{ file: ./nothing }", "nothing cannot be read")):
            said = self.ask(status=1, more=f", key: {key}")
            self.assertIn(text, said)

    def test_the_stage_has_to_declare_the_network(self):
        said = self.ask(status=1, network="false")
        self.assertIn("give it `network: true`", said)
        self.assertEqual(self.chat.requests, [])

    @unittest.skipUnless(shutil.which("openssl"), "skipped: no openssl to make a certificate")
    def test_certificates_are_verified(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                        "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", self.path("key.pem"), "-out",
                        self.path("cert.pem")], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path("cert.pem"), self.path("key.pem"))
        chat = Chat("All is fine.", tls=context)
        try:
            self.assertIn("certificate", self.ask(status=1, endpoint=chat.url))
            self.assertEqual(self.attempts("out")[0]["class"], "input")
            self.assertEqual(self.ask(endpoint=chat.url, more=f", ca: {self.path('cert.pem')}", timeout=10), "All is fine.\n")
            other = chat.url.replace("localhost", "127.0.0.1")
            self.assertIn("127.0.0.1", self.ask(status=1, endpoint=other, more=f", ca: {self.path('cert.pem')}"))
            self.assertEqual(len(chat.requests), 1)
        finally:
            chat.close()

    def test_no_proxy_stands_before_loopback(self):
        env = {name: "http://127.0.0.1:1" for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY")}
        self.assertEqual(self.ask(env=env), "All is fine.\n")

    def test_urls(self):
        for url, text in (("ftp://h/v1", "begins with http://"), ("http://u:p@h/v1", "without a user and password"),
                          ("nothing at all", "expected the URL")):
            said = self.ask(status=1, endpoint=url)
            self.assertIn(text, said)
        self.ask(endpoint=self.chat.url[:-3])
        self.ask(endpoint=self.chat.url + "/")
        self.ask(endpoint=self.chat.url + "/chat/completions")

    def test_facts_are_of_the_schema(self):
        schema = '{type: object, properties: {who: {type: array, items: {type: string}}, n: {type: integer}}, required: [who]}'
        answers = collections.deque(['{"who": 3}', '```json\n{"n": 2, "who": ["Anna"]}\n```'])
        self.chat.answer = lambda body: answers.popleft()
        facts = json.loads(self.ask("extract", more=f", schema: {schema}, attempts: 2"))
        self.assertEqual(facts, {"who": ["Anna"], "n": 2})
        form = self.chat.requests[0]["response_format"]
        self.assertEqual(form["type"], "json_schema")
        self.assertEqual(form["json_schema"]["schema"]["required"], ["who"])
        self.chat.answer = "[]"
        self.assertIn("not of the form that was asked for", self.ask("extract", status=1, more=f", schema: {schema}, attempts: 1"))

    def test_punctuation_keeps_words(self):
        def answer(body):
            said = body["messages"][1]["content"]
            return {"so we met anna she said hello": "So, we met Anna. She said: hello!", "good morning": "Good evening."}[said]
        self.chat.answer = answer
        segments = json.loads(self.ask("punctuate"))["segments"]
        self.assertEqual([s["text"] for s in segments], [" So, we met Anna.", " She said: hello!", " good morning"])

    def test_translation(self):
        def answer(body):
            lines = json.loads(body["messages"][1]["content"])["lines"]
            return json.dumps({"lines": [f"[{line}]" for line in lines]})
        self.chat.answer = answer
        transcript = json.loads(self.ask("translate", more=", to: de"))
        self.assertEqual([s["text"] for s in transcript["segments"]], [" [so we met anna]", " [she said hello]", " [good morning]"])
        self.assertEqual([(s["start"], s["end"], s["speaker"]) for s in transcript["segments"]], [(s, e, w) for s, e, _, w in SEGMENTS])
        self.assertEqual(transcript["language"], "de")
        self.assertIn("into German", self.chat.requests[0]["messages"][0]["content"])

    def test_windows_are_asked_about_together(self):
        segments = [{"start": i, "end": i + 1, "text": " " + "word " * 40} for i in range(60)]
        self.write("talk.json", json.dumps({"segments": segments}))
        self.chat.pause, self.chat.answer = 0.05, "notes on it"
        self.ask(more=", context: 1024, max_tokens: 100, batch_size: 3")
        self.assertEqual(self.chat.most_at_once, 3)
        self.assertGreater(len(self.chat.requests), 5)

    def test_thoughts_are_left_out(self):
        self.chat.answer = "<think>\nHm, Anna?\n</think>\n\nThey met."
        self.assertEqual(self.ask(), "They met.\n")
        self.assertEqual(self.ask(more=", thoughts: true"), self.chat.answer + "\n")
        self.chat.answer = 'Hm, {Anna}?\n</think>\n\n{"who": "Anna"}'  # the server's template began the thought
        self.assertEqual(json.loads(self.ask("extract", more=", schema: {type: object, properties: {who: {type: string}}}")), {"who": "Anna"})

    def test_parameters_at_their_bounds(self):
        plugin = BUILD + "/lib/sluice/plugins/llm_http.so"
        stage = "llm_http/summarize"
        said = self.sluice("plugin", "check", plugin, "--only", stage + ":create.bounds",
                           "--with", f"{stage}.endpoint={self.chat.url}").stdout
        self.assertRegex(said, r"ok +llm_http/summarize:create.bounds .* values, \d+ taken")
        self.make(more=", attempts: 100")
        self.assertIn("an integer from 1 to 6, found", self.sluice("check", "p.yaml", status=2).stderr)

    def test_cancelling(self):
        self.chat.faults = ["stall"] * 9
        self.make(more=", attempts: 6", timeout=20)
        process = self.start("run", "p.yaml", "talk.json", "-o", "out", "--json")
        wait_until(lambda: self.chat.requests, 20, "asked")
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        self.finish(process, 130)
        self.assertLess(time.monotonic() - began, 3)
        self.assertEqual(self.attempts("out")[0]["class"], "cancelled")


main()

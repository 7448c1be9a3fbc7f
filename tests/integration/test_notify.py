"""Notifications at the end of a run, against servers of our own: mail with STARTTLS, webhooks, commands; and that secrets stay."""
import email
import email.policy
import http.server
import socket
import socketserver
import ssl
import threading

from harness import *

PASSWORD, TOKEN = "hunter2-Pässword", "tok-5f2c99e1"


class Smtp(socketserver.ThreadingTCPServer):
    """As much of SMTP as libcurl speaks; keeps what it was sent."""
    allow_reuse_address = daemon_threads = True

    def __init__(self, context, deaf=False):
        self.context, self.deaf, self.mails, self.logins, self.plain_logins = context, deaf, [], [], 0
        super().__init__(("127.0.0.1", 0), SmtpHandler)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return f"smtp://127.0.0.1:{self.server_address[1]}"


class SmtpHandler(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write((text + "\r\n").encode())

    def line(self):
        return self.rfile.readline().decode("utf-8", "replace").rstrip("\r\n")

    def start_tls(self):
        self.say("220 go")
        self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)

    def login(self, words):
        import base64
        answer = words[2] if len(words) > 2 else (self.say("334 "), self.line())[1]
        user, password = base64.b64decode(answer).decode().split("\0")[1:]
        self.server.logins.append((user, password))
        self.server.plain_logins += not isinstance(self.connection, ssl.SSLSocket)
        self.say("235 ok" if password == PASSWORD else f"535 wrong: {password}")

    def data(self):
        self.say("354 go")
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b".") else line)
        self.server.mails.append(b"".join(lines))
        self.say("250 taken")

    def handle(self):
        if self.server.deaf:
            threading.Event().wait(30)
            return
        try:
            self.say("220 hello")
            while words := self.line().split(" "):
                verb = words[0].upper()
                if verb in ("EHLO", "HELO"):
                    tls = self.server.context and not isinstance(self.connection, ssl.SSLSocket)
                    self.say("250-hello\r\n250-AUTH PLAIN" + ("\r\n250 STARTTLS" if tls else "\r\n250 8BITMIME"))
                elif verb == "STARTTLS":
                    self.start_tls()
                elif verb == "AUTH":
                    self.login(words)
                elif verb == "DATA":
                    self.data()
                elif verb in ("QUIT", ""):
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")
        except OSError:
            pass


class Hook(http.server.ThreadingHTTPServer):
    """Answers with the statuses it was given, the last one for ever; keeps what it was sent."""
    daemon_threads = True

    def __init__(self, *statuses):
        self.statuses, self.bodies, self.tokens = list(statuses), [], []
        super().__init__(("127.0.0.1", 0), HookHandler)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class HookHandler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        s = self.server
        s.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        s.tokens.append(self.headers.get("Authorization"))
        status = s.statuses.pop(0) if len(s.statuses) > 1 else s.statuses[0]
        if status == 0:
            time.sleep(5)
        self.send_response(status or 200)
        self.end_headers()

    def log_message(self, *args):
        pass


def a_certificate(folder):
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context


class Notify(Case):
    confined = True

    def setUp(self):
        super().setUp()
        self.env.update(MAIL_PASSWORD=PASSWORD, HOOK_TOKEN=TOKEN, no_proxy="*")
        self.write("in/a.txt", "x")
        self.write("in/b ü.txt", "x")

    def start_server(self, server):
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server

    def run_it(self, hooks, fail="", status=0):
        """Two items, of which those named `fail` fail."""
        self.pipeline("  one: { use: exec/command, in: { file: inputs.file }, with: { exit_codes: { 9: input }, argv: [sh, -c, "
                      f"'case \"$0\" in *{fail or '/never'}*) echo this one is bad >&2; exit 9;; esac', \"${{in.file}}\"] }} }}\n",
                      head="inputs: { file: { type: file/1 } }\n" + hooks)
        done = self.sluice("run", "p.yaml", "in/a.txt", "in/b ü.txt", "-o", "out", status=status)
        self.check_secrets(done.stdout + done.stderr + self.sluice("show", "last", "--json").stdout)
        return done.stderr

    def check_secrets(self, text):
        for secret in (PASSWORD, TOKEN):
            self.assertNotIn(secret, text)
            for at, _, names in os.walk(self.run_folder()):
                for name in names:
                    with open(os.path.join(at, name), "rb") as f:
                        self.assertNotIn(secret.encode(), f.read(), name)

    def log(self):
        return self.read(os.path.join(self.run_folder(), "log"))


@unittest.skipUnless(shutil.which("openssl"), "skipped: no openssl to make a certificate")
class Mail(Notify):
    def setUp(self):
        super().setUp()
        self.cert, self.context = a_certificate(self.folder)

    def mail(self, server, more="", key="on_finish"):
        return (f"{key}:\n  - mail: {{ to: [ops@example.org, ada@example.org], from: sluice@example.org, server: \"{server.url}\", "
                f"timeout: 5s{more} }}\n")

    def login(self):
        return f", user: sluice, password: {{ env: MAIL_PASSWORD }}, ca: {self.cert}"

    def test_with_starttls(self):
        server = self.start_server(Smtp(self.context))
        self.run_it(self.mail(server, self.login(), "on_failure"), fail="ü", status=1)
        message = email.message_from_bytes(server.mails[0], policy=email.policy.default)
        self.assertEqual(message["Subject"], "[sluice] test: failed, 1 ok, 1 failed")
        self.assertEqual(message["To"], "ops@example.org, ada@example.org")
        self.assertIn("b ü: sh exited with status 9", message.get_content())
        self.assertIn(self.run_folder(), message.get_content())
        self.assertEqual((server.logins, server.plain_logins), ([("sluice", PASSWORD)], 0))
        self.assertIn("the notification (mail) was sent", self.log())

    def test_subjects_beyond_ascii(self):
        server = self.start_server(Smtp(None))
        self.run_it("description: d\n" + self.mail(server, ", tls: none"))
        self.pipeline("  one: { use: exec/command, with: { argv: [\"true\"] } }\n",
                      head=self.mail(server, ", tls: none"))
        text = self.read("p.yaml").replace("name: test", "name: " + "Größe 日本語 " * 8)
        self.write("p.yaml", text)
        self.sluice("run", "p.yaml")
        message = email.message_from_bytes(server.mails[1], policy=email.policy.default)
        self.assertIn("Größe 日本語 Größe", message["Subject"])

    def test_what_goes_wrong_is_a_warning(self):
        other = os.path.join(self.folder, "other")
        os.mkdir(other)
        stranger = a_certificate(other)[0]
        server = self.start_server(Smtp(self.context))
        plain = self.start_server(Smtp(None))
        wrong = self.start_server(Smtp(self.context))
        self.env["WRONG"] = "not-it"
        for name, hooks, said in (
                ("certificate", self.mail(server, self.login().replace(self.cert, stranger)), "SSL"),
                ("no TLS", self.mail(plain, self.login()), "STARTTLS"),
                ("password", self.mail(wrong, self.login().replace("MAIL_PASSWORD", "WRONG")), "Login denied"),
                ("no secret", self.mail(server, self.login().replace("MAIL_PASSWORD", "NOWHERE")), "NOWHERE is not set")):
            with self.subTest(name):
                text = self.run_it(hooks)
                self.assertIn("warning: the notification (mail) was not sent:", text)
                self.assertIn(said, text)
                self.assertNotIn("not-it", text + self.log())
        self.assertEqual((server.logins, plain.logins, server.mails + plain.mails + wrong.mails), ([], [], []))


class Webhook(Notify):
    def hook(self, server, more="", key="on_finish"):
        return f"{key}:\n  - webhook: {{ url: \"{server.url}/x\", token: {{ file: {self.path('token')} }}{more} }}\n"

    def setUp(self):
        super().setUp()
        self.write("token", TOKEN + "\n")

    def test_it_is_tried_again(self):
        server = self.start_server(Hook(503, 200))
        text = self.run_it(self.hook(server), fail="a.txt", status=1)
        self.assertNotIn("warning: the notif", text)
        self.assertEqual(len(server.bodies), 2)
        body = server.bodies[-1]
        self.assertEqual((body["state"], body["ok"], body["failed"], body["failures"][0]["item"]), ("failed", 1, 1, "a"))
        self.assertEqual(body["id"], self.show()["id"])
        self.assertEqual(set(server.tokens), {"Bearer " + TOKEN})

    def test_it_is_given_up(self):
        for statuses, more, said, n in (((500,), ", attempts: 2", "2 attempts, the last: the server answered with status 500", 2),
                                        ((403,), "", "the server answered with status 403", 1),
                                        ((0,), ", attempts: 1, timeout: 300ms", "timed out", 1)):
            with self.subTest(said):
                server = self.start_server(Hook(*statuses))
                self.assertIn(said, self.run_it(self.hook(server, more)))
                self.assertEqual(len(server.bodies), n)

    def test_failure_only(self):
        server = self.start_server(Hook(200))
        self.run_it(self.hook(server, key="on_failure"))
        self.assertEqual(server.bodies, [])

    def test_a_secret_address(self):
        server = self.start_server(Hook(404))
        self.env["HOOK_URL"] = server.url + "/" + TOKEN
        self.run_it("on_finish:\n  - webhook: { url: { env: HOOK_URL } }\n")
        self.assertEqual(len(server.bodies), 1)


class Command(Notify):
    def test_what_it_is_given(self):
        script = self.write("told.sh", "#!/bin/sh\nenv | grep SLUICE_RUN > told\necho said\n")
        os.chmod(script, 0o700)
        self.run_it("on_failure:\n  - command: { argv: [./told.sh] }\n", fail="a.txt", status=1)
        told = dict(line.split("=", 1) for line in self.read("told").splitlines())
        self.assertEqual((told["SLUICE_RUN_ID"], told["SLUICE_RUN_FOLDER"]), (self.show()["id"], self.run_folder()))
        self.assertEqual([told["SLUICE_RUN_" + k] for k in ("STATE", "OK", "FAILED", "CANCELLED")], ["failed", "1", "1", "0"])
        self.assertEqual(self.read(os.path.join(self.run_folder(), "notify.log")), "said\n")

    def test_its_failure_and_its_time(self):
        text = self.run_it("on_finish:\n  - command: { argv: [sh, -c, exit 3] }\n  - command: { argv: [./absent] }\n"
                           "  - command: { argv: [sh, -c, 'sleep 60 & sleep 60'], timeout: 200ms }\n")
        self.assertIn("sh: exited with status 3", text)
        self.assertIn("./absent: cannot be run: No such file", text)
        self.assertIn("sh: not done after 200 ms", text)
        self.assertEqual(self.show()["state"], "ok")

    def test_all_of_them_have_a_limit(self):
        self.env["SLUICE_NOTIFY_WAIT"] = "500ms"
        began = time.monotonic()
        text = self.run_it("on_finish:\n  - command: { argv: [sleep, '60'] }\n  - command: { argv: [sleep, '60'] }\n")
        self.assertEqual(text.count("not done after"), 2)
        self.assertLess(time.monotonic() - began, 30)


class Files(Notify):
    def mistakes(self, hooks):
        self.pipeline("  one: { use: exec/command, with: { argv: [\"true\"] } }\n", head=hooks)
        return self.sluice("check", "p.yaml", status=2).stderr

    def test_mistakes(self):
        for hooks, said in (
                ("on_finish: { mail: {} }", "on_finish: expected a list of at most 20 notifications, found a map"),
                ("on_finish: [{ post: {} }]", "on_finish: expected one of { mail: ... }, { webhook: ... } and { command: ... }"),
                ("on_failure: [{ mail: { to: a@b, from: c@d } }]", 'on_failure: mail: key "server" is missing'),
                ("on_failure: [{ mail: { to: [], from: c@d, server: ftp://x } }]", "on_failure: mail: server: expected smtp://HOST"),
                ("on_finish: [{ mail: { to: \"a@b\\r\\nBcc: x\", from: c@d, server: smtp://x } }]", "to: expected an address"),
                ("on_finish: [{ webhook: { url: https://u:p@host/ } }]", "without a user in it"),
                ("on_finish: [{ command: { argv: [], timeout: 2h } }]", "timeout: expected more than 0, at most 10m")):
            self.assertIn(said, self.mistakes(hooks + "\n"))
        text = self.mistakes(f"on_finish: [{{ webhook: {{ url: http://h/, token: {TOKEN} }} }}]\n")
        self.assertIn("token: expected { env: NAME } or { file: PATH }; a secret is not written into this file", text)
        self.assertNotIn(TOKEN, text)
        self.assertIn("tls: none would send the password in the clear",
                      self.mistakes("on_finish: [{ mail: { to: a@b, from: c@d, server: smtp://x, tls: none, user: u, "
                                    "password: { env: MAIL_PASSWORD } } }]\n"))


main()

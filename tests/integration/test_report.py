"""sluice report: the page of a run, as text and as a browser shows it, and the trace."""
import html.parser
import struct
import urllib.parse
import zlib

from harness import *

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
OK, WARN, BAD, DARK = (0x8f, 0xc9, 0xa3), (0xf0, 0xc4, 0x6a), (0xf0, 0x95, 0x8d), (0x14, 0x18, 0x1d)


class Page(html.parser.HTMLParser):
    """Well-formed: every element that is opened is closed, in order. Keeps ids, links and text."""
    VOID = {"meta", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.text = [], [], [], ""
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs["href"]] if "href" in attrs else []

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.open)

    def handle_data(self, data):
        self.text += data


def read_png(path):
    """Rows of (r, g, b) of an 8-bit RGB or RGBA image."""
    with open(path, "rb") as f:
        data = f.read()
    at, pixels = 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", data[at + 8:at + 18])
        if kind == b"IDAT":
            pixels += data[at + 8:at + 8 + size]
        at += size + 12
    n = {2: 3, 6: 4}[colour]
    assert depth == 8
    raw, before, rows = zlib.decompress(pixels), bytearray(width * n), []
    for y in range(height):
        start = y * (width * n + 1)
        row = bytearray(raw[start + 1:start + 1 + width * n])
        unfilter(raw[start], row, before, n)
        rows.append([tuple(row[x:x + 3]) for x in range(0, len(row), n)])
        before = row
    return rows


def unfilter(kind, row, above, n):
    for i in range(len(row)):
        left, up, corner = (row[i - n] if i >= n else 0), above[i], (above[i - n] if i >= n else 0)
        if kind == 4:
            p = left + up - corner
            nearest = min((abs(p - left), 0, left), (abs(p - up), 1, up), (abs(p - corner), 2, corner))[2]
        else:
            nearest = (0, left, up, (left + up) // 2)[kind]
        row[i] = (row[i] + nearest) & 255


STAGES = """  good: { use: exec/command, in: { file: inputs.audio },
    with: { argv: [cp, "${in.file}", "${out.copy}"], outputs: { copy: text/1 } } }
  flaky: { use: exec/command, in: { text: good.copy }, retry: { attempts: 2, backoff: 10ms, on: [transient] },
    with: { argv: [sh, -c, 'sleep 0.3; if mkdir once; then exit 75; fi; cp "$0" "$1"', "${in.text}", "${out.copy}"],
            outputs: { copy: text/1 } } }
"""


class Report(Case):
    confined = True
    def make_run(self):
        """One item is ok at the second attempt, one fails."""
        stages = STAGES.replace("mkdir once", f"mkdir {self.path('once')}")
        self.pipeline(stages, head="inputs:\n  audio: { type: file/1 }\n")
        self.write("a <b>.txt", b"words\n")
        self.write("bad.txt", b"\xff\xfe not text\n")
        self.sluice("run", "p.yaml", "a <b>.txt", "bad.txt", "-o", "out", status=1)

    def test_page(self):
        self.make_run()
        done = self.sluice("report", "last")
        path = done.stdout.strip()
        self.assertEqual(path, os.path.join(self.run_folder(), "report.html"))
        page = Page(self.read(path))
        self.assertIn("a <b>", page.text)
        self.assertIn("What failed", page.text)
        self.assertIn("What was tried again", page.text)
        self.assertEqual(len(page.ids), len(set(page.ids)))
        for link in page.links:
            if link.startswith("#"):
                self.assertIn(link[1:], page.ids)
            else:
                self.assertTrue(os.path.exists(urllib.parse.unquote(link[len("file://"):])), link)

    def test_the_picture_is_that_of_the_run(self):
        """Drawn with its parameters and its folders of plugins."""
        pipeline = self.pipeline('  a: { use: fixture/hello, timeout: "${params.limit}" }\n', head="params: { limit: {} }\n")
        self.sluice("run", pipeline, "--set", "limit=1m", *fixtures())
        done = self.sluice("report", "last")
        self.assertEqual(done.stderr, "")
        self.assertIn("fixture/hello", Page(self.read(done.stdout.strip())).text)

    def test_where_it_goes(self):
        self.make_run()
        self.sluice("report", "last", "-o", "r.html")
        self.assertEqual(self.sluice("report", "last", "-o", "-").stdout, self.read("r.html"))
        self.sluice("report", "nothing", status=2)
        self.sluice("report", "last", "-o", "no/such/folder.html", status=1)

    def test_trace(self):
        self.make_run()
        self.sluice("report", "last", "--trace", "t.json")
        events = json.loads(self.read("t.json"))["traceEvents"]
        attempts = [e for e in events if e["ph"] == "X"]
        recorded = sum(len(s["attempts"]) for i in self.show()["items"] for s in i["stages"])
        self.assertEqual(len(attempts), recorded)
        self.assertIn("transient", {e["cat"] for e in attempts})

    @unittest.skipUnless(BROWSER, "skipped: chromium is absent")
    def test_in_a_browser(self):
        self.make_run()
        self.sluice("report", "last", "-o", "r.html")
        for name, scheme in (("light", 1), ("dark", 0)):
            subprocess.run([BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                            f"--user-data-dir={self.path('profile')}", f"--blink-settings=preferredColorScheme={scheme}",
                            "--window-size=1300,1400", f"--screenshot={self.path(name + '.png')}",
                            "file://" + self.path("r.html")],
                           check=True, timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        light, dark = read_png(self.path("light.png")), read_png(self.path("dark.png"))
        self.assertEqual(light[1][1], (255, 255, 255))
        self.assertEqual(dark[1][1], DARK)
        colours = {}
        for row in light:
            for pixel in row:
                colours[pixel] = colours.get(pixel, 0) + 1
        for name, colour in (("ok", OK), ("to be tried again", WARN), ("failed", BAD)):
            self.assertGreater(colours.get(colour, 0), 20, f"no bar of an attempt that was {name}")


main()

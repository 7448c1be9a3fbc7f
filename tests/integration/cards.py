"""Made-up cards for tests (tests/fixtures/nvml): machines of any size, and what their stages took."""
from harness import *

GIB = 1 << 30
NVML = os.path.join(BUILD, "tests/nvml/libnvidia-ml.so.1")


def card(uuid="GPU-aaaa", name="Fake_24", gib=24, capability=90, **more):
    return dict(uuid=uuid, name=name, total=gib * GIB, reserved=0, capability=capability, **more)


class Cards(Case):
    def setUp(self):
        super().setUp()
        self.cards = self.path("cards")
        for part in ("use", "gone"):
            os.makedirs(os.path.join(self.cards, part))
        self.env.update(FAKE_CARDS=self.cards, SLUICE_NVML=NVML)
        self.env.pop("CUDA_VISIBLE_DEVICES", None)

    def machine(self, *cards, late_ms=0, pids=0, init_error=0):
        text = f"driver=550.54.15 cuda=12040 late_ms={late_ms} pids={pids} init_error={init_error}\n"
        text += "".join("card " + " ".join(f"{k}={v}" for k, v in c.items()) + "\n" for c in cards)
        path = os.path.join(self.cards, "cards")
        with open(path + ".new", "w") as f:
            f.write(text)
        os.rename(path + ".new", path)

    def taken(self):
        """What was taken of cards, in order: (what, uuid, GiB, GiB in use of that card then)."""
        path = os.path.join(self.cards, "log")
        if not os.path.exists(path):
            return []
        with open(path) as f:
            rows = [line.split() for line in f]
        return [(what, uuid, int(size) / GIB, int(used) / GIB) for what, _, uuid, size, used in rows]

    def forget(self):
        os.remove(os.path.join(self.cards, "log"))

    def stages(self, **sizes):
        """A pipeline of stages named after their letter, one after the other: a=(used, declared)."""
        text, before = "", None
        for name, (used, declared) in sizes.items():
            link = f", in: {{ text: {before}.text }}" if before else ""
            text += self.stage(name, used, declared, link)
            before = name
        return self.pipeline(text)

    def stage(self, name, used, declared, more="", hold="300ms", device="cuda", use="card/take"):
        limit = f", resources: {{ gpu_memory: {declared}GiB }}" if declared else ""
        return (f"  {name}: {{ use: {use}, with: {{ bytes: {used}GiB, hold: {hold} }}, device: {device}"
                f"{limit}{more} }}\n")

    def items(self, n):
        return [self.write(f"i{k}.txt", "x") for k in range(n)]

    def run_it(self, pipeline, n=1, *args, status=0, env=None):
        head = "sluice: 1\ninputs: { file: { type: file/1 } }\n"
        with open(pipeline) as f:
            text = f.read()
        if "inputs:" not in text:
            self.write("p.yaml", text.replace("sluice: 1\n", head))
        return self.sluice("run", pipeline, *self.items(n), *fixtures(*args), status=status, env=env)

    def live_log(self):
        """The log of the only run, which may be about to begin."""
        runs = os.path.join(self.state, "runs")
        for name in os.listdir(runs) if os.path.isdir(runs) else []:
            path = os.path.join(runs, name, "log")
            if os.path.exists(path):
                with open(path) as f:
                    return f.read()
        return ""

    def log(self):
        with open(os.path.join(self.run_folder(), "log")) as f:
            return f.read()

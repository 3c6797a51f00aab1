#!/usr/bin/env python3
"""Consort against Docker Compose on one engine: the same projects, in turn, ratios of medians.

    benches/compare.py --ours target/release/consort --peer docker-compose [--runs 5] [--only up,logs] [--embedded]

Both commands use the engine that DOCKER_HOST names; with --embedded (as root) ours is its own engine instead, in folders
of its own, with the image from the registry that CONSORT_REGISTRY_MIRRORS names. Every measurement alternates peer and ours, so that whatever else
the machine does falls on both. Wall clock and CPU time are of the command itself (children included), not of the
engine. The peak of memory is what GNU time reports (Debian's package `time`): a child of this script would be charged
for the interpreter it was forked from.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

IMAGE = "busybox:latest"
# Ratios to the peer on Docker that the embedded engine is held to: services to (up, down).
EMBEDDED = {1: (0.167, 0.25), 10: (0.083, 0.125), 50: (0.067, 0.05)}
# Peak of memory, MiB.
MEMORY = 10


def run(command, cwd, check=True, env=None):
    """Runs `command`; returns (wall seconds, CPU seconds)."""
    begin = time.monotonic()
    process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if check and process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{errors.decode(errors='replace')[-2000:]}")
    return wall, usage.ru_utime + usage.ru_stime


def peak(command, cwd, env=None):
    """Runs `command`; returns its peak of resident memory in KiB."""
    with tempfile.NamedTemporaryFile(mode="r", prefix="consort-bench-peak-") as figure:
        run(["/usr/bin/time", "-q", "-f", "%M", "-o", figure.name] + command, cwd, env=env)
        return int(figure.read())


def flat(services):
    """A project of independent services that end at once when they are stopped."""
    lines = ["services:"]
    for i in range(services):
        lines += [f"  s{i}:", f"    image: {IMAGE}", '    command: ["sleep", "infinity"]', "    stop_signal: SIGKILL"]
    return "\n".join(lines) + "\n"


def chain(length):
    """Services of which each waits until the one before it is healthy."""
    lines = ["services:"]
    for i in range(length):
        lines += [f"  s{i}:", f"    image: {IMAGE}", '    command: ["sleep", "infinity"]', "    stop_signal: SIGKILL",
                  "    healthcheck:", '      test: ["CMD", "true"]', "      interval: 100ms", "      timeout: 2s", "      retries: 20"]
        if i:
            lines += ["    depends_on:", f"      s{i - 1}:", "        condition: service_healthy"]
    return "\n".join(lines) + "\n"


def long_file(lines):
    """A file of so many lines: anchors, merge keys, expressions, short and long forms."""
    text = ["x-common: &common", "  restart: unless-stopped", "x-env: &env", "  TZ: Europe/Prague", "services:"]
    i = 0
    while len(text) < lines:
        text += [f"  s{i}:", "    <<: *common", f"    image: registry.example.com/team/app-{i}:${{TAG:-1.{i}.0}}", "    build:",
                 f"      context: ./apps/{i}   # a comment", "      args:", "        HTTP_PROXY:",
                 "    command: [\"sh\", \"-c\", \"exec ./run --name '$$HOSTNAME'\"]", "    environment:", "      <<: *env",
                 f"      DATABASE_URL: postgres://user:${{PASSWORD:-none}}@db:5432/app{i}", "      MOTD: |", "        Hello,", "        there",
                 "    ports:", f'      - "{10000 + i}:80"', "      - target: 443", f'        published: "{20000 + i}"', "    volumes:",
                 f"      - data{i % 5}:/var/lib/data", "      - type: bind", f"        source: ./conf/{i}", "        target: /etc/app",
                 "    healthcheck:", "      test: [CMD, curl, -f, http://localhost/]", "      interval: 1m30s", "    depends_on:",
                 f"      s{max(i - 1, 0)}:" if i else "      s1:", "        condition: service_healthy"] if i != 1 else [
                 "  s1:", "    image: busybox", "    healthcheck: {test: [CMD, 'true']}"]
        i += 1
    return "\n".join(text + ["volumes:"] + [f"  data{i}:" for i in range(5)]) + "\n"


def linked(services):
    """Services of which each needs another one."""
    lines = ["services:"]
    for i in range(services):
        lines += [f"  s{i}:", f"    image: {IMAGE}", "    command: [sleep, infinity]", "    environment:", f"      N: '{i}'", "      MODE: ${MODE:-prod}",
                  f"    ports: ['{10000 + i}:80']", "    volumes: ['data:/data']"]
        if i:
            lines += ["    depends_on:", f"      - s{i // 2}"]
    return "\n".join(lines + ["volumes:", "  data:"]) + "\n"


def talkative(lines):
    """One service that writes so many lines and ends."""
    return f'services:\n  talk:\n    image: {IMAGE}\n    command: ["seq", "{lines}"]\n'


def flood(megabytes):
    """One service that writes so much as fast as it can, and ends."""
    line = "0123456789" * 10
    count = megabytes * 1_000_000 // (len(line) + 1)
    return f'services:\n  flood:\n    image: {IMAGE}\n    command: ["sh", "-c", "yes {line} | head -n {count}"]\n'


def supervisors(state):
    """Memory of the supervisors of these folders, KiB: (resident, proportional, private and dirty)."""
    sizes = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            if b"@consort" in words and state.encode() in words:
                with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                    fields = {line.split()[0]: int(line.split()[1]) for line in file.readlines()[1:]}
                sizes.append(tuple(fields[name] for name in ("Rss:", "Pss:", "Private_Dirty:")))
        except OSError:
            pass  # It has ended.
    return sizes


class Bench:
    def __init__(self, options):
        self.embedded = options.embedded
        self.environments = {"peer": dict(os.environ), "ours": dict(os.environ)}
        self.tools = {"peer": options.peer.split(), "ours": options.ours.split()}
        self.runs = options.runs
        self.only = [w for w in options.only.split(",") if w]
        # Not in memory, where overlays can't have their upper layer.
        self.root = tempfile.mkdtemp(prefix="consort-bench-", dir="/var/tmp")
        if self.embedded:
            self.state = os.path.join(self.root, "state")
            folders = {"CONSORT_STATE_DIR": self.state, "CONSORT_RUN_DIR": os.path.join(self.root, "run")}
            self.environments["ours"].update(folders, CONSORT_ENGINE="embedded")
            self.go("ours", ["image", "pull", "-q", IMAGE], self.root)

    def go(self, tool, arguments, cwd):
        return run(self.tools[tool] + arguments, cwd, env=self.environments[tool])

    def wants(self, name):
        return not self.only or any(name.startswith(w) for w in self.only)

    def project(self, name, text):
        """A folder for each tool, so that neither sees the other's containers."""
        folders = {}
        for tool in self.tools:
            folders[tool] = os.path.join(self.root, f"bench-{name}-{tool}")
            os.makedirs(folders[tool], exist_ok=True)
            with open(os.path.join(folders[tool], "compose.yaml"), "w", encoding="utf-8") as file:
                file.write(text)
        return folders

    def report(self, name, samples, target=None, column=0):
        """`samples`: tool to a list of (wall, cpu)."""
        self.row(name, {tool: statistics.median(s[column] for s in list_) * 1000 for tool, list_ in samples.items()}, "ms", target)

    def memory(self, name, folders, arguments):
        """One run of each tool; memory hardly varies. The target is ours alone, not a ratio."""
        figures = {tool: peak(command + arguments, folders[tool], self.environments[tool]) / 1024 for tool, command in self.tools.items()}
        self.row(f"{name}: memory", figures, "MiB", MEMORY, figures["ours"])

    def row(self, name, figures, unit, target=None, judged=None):
        ratio = figures["ours"] / figures["peer"] if figures["peer"] else float("nan")
        judged = ratio if judged is None else judged
        verdict = "" if target is None else f"  target {target:<5} {'met' if judged <= target else 'MISSED'}"
        print(f"{name:<28} peer {figures['peer']:10.1f} {unit:<3} ours {figures['ours']:10.1f} {unit:<3} ratio {ratio:6.3f}{verdict}", flush=True)

    def alternate(self, folders, steps, measured):
        """Runs the steps of each tool in turn, `runs` times; `measured` names the steps whose figures are kept."""
        figures = {step: {tool: [] for tool in self.tools} for step in measured}
        for _ in range(self.runs):
            for tool in self.tools:
                for step, arguments in steps:
                    got = self.go(tool, arguments, folders[tool])
                    if step in figures:
                        figures[step][tool].append(got)
        return figures

    def once(self, folders, arguments):
        for tool in self.tools:
            self.go(tool, arguments, folders[tool])

    def main(self):
        try:
            if self.wants("start"):
                folders = self.project("start", flat(1))
                figures = self.alternate(folders, [("start", ["version"])], ["start"])
                self.report("start (version)", figures["start"], 0.08)
            for n in (1, 10, 50):
                if self.wants(f"up{n}") or self.wants(f"down{n}"):
                    folders = self.project(f"flat{n}", flat(n))
                    figures = self.alternate(folders, [("up", ["up", "-d"]), ("down", ["down", "-v"])], ["up", "down"])
                    up, down = EMBEDDED[n] if self.embedded else (1.0, 0.65 if n == 50 else None)
                    self.report(f"up -d, {n}", figures["up"], up)
                    self.report(f"down -v, {n}", figures["down"], down)
                    self.report(f"up -d, {n}: CPU", figures["up"], column=1)
                    if n == 50:
                        self.memory("up --dry-run, 50", folders, ["--dry-run", "up", "-d"])
                        self.memory("up -d, 50", folders, ["up", "-d"])
                        if self.embedded:
                            largest, shared, own = (size / 1024 for size in max(supervisors(self.state), default=(0, 0, 0)))
                            verdict = "met" if largest <= 4 else "MISSED"
                            print(f"supervisor of 50             ours {largest:10.1f} MiB  Pss {shared:.1f}, own {own:.1f}  target 4 {verdict}", flush=True)
                        self.once(folders, ["down", "-v"])
            if self.wants("load"):
                folders = self.project("load", long_file(10_000))
                figures = self.alternate(folders, [("config", ["config"])], ["config"])
                self.report("config, 10,000 lines", figures["config"], 0.05)
                self.report("config, 10,000 lines: CPU", figures["config"], 0.05, column=1)
                # Loaded, checked and planned; no engine takes part.
                folders = self.project("many", linked(500))
                ours = [run(self.tools["ours"] + ["--engine", "sim", "--dry-run", "up"], folders["ours"]) for _ in range(self.runs)]
                for name, column in (("wall", 0), ("CPU", 1)):
                    figure = statistics.median(sample[column] for sample in ours) * 1000
                    print(f"500 services planned: {name:<6} ours {figure:10.1f} ms   target 50 ms {'met' if figure <= 50 else 'MISSED'}", flush=True)
            if self.wants("noop") or self.wants("ps"):
                folders = self.project("steady", flat(50))
                self.once(folders, ["up", "-d"])
                figures = self.alternate(folders, [("noop", ["up", "-d"]), ("ps", ["ps"])], ["noop", "ps"])
                self.report("no-op up, 50", figures["noop"], 0.4)
                if self.embedded:
                    figure = statistics.median(wall for wall, _ in figures["noop"]["ours"]) * 1000
                    print(f"no-op up, 50                 ours {figure:10.1f} ms   target 15 ms {'met' if figure <= 15 else 'MISSED'}", flush=True)
                self.report("ps, 50", figures["ps"], 0.4)
                self.memory("no-op up, 50", folders, ["up", "-d"])
                self.memory("ps, 50", folders, ["ps"])
                self.once(folders, ["down", "-v"])
            if self.wants("exec"):
                folders = self.project("exec", flat(1))
                self.once(folders, ["up", "-d"])
                figures = self.alternate(folders, [("exec", ["exec", "-T", "s0", "true"])], ["exec"])
                self.report("exec true", figures["exec"], 0.143 if self.embedded else None)
                self.once(folders, ["down", "-v"])
            if self.wants("chain"):
                folders = self.project("chain", chain(6))
                figures = self.alternate(folders, [("up", ["up", "-d", "--wait"]), ("down", ["down", "-v"])], ["up"])
                self.report("chain of 6 healthy gates", figures["up"], 0.1 if self.embedded else 0.55)
            if self.wants("logs"):
                folders = self.project("logs", talkative(1_000_000))
                self.once(folders, ["up", "-d"])
                # Following ends with the container, so all lines are there afterwards.
                self.once(folders, ["logs", "-f", "-n", "0"])
                figures = self.alternate(folders, [("logs", ["logs", "--no-color"])], ["logs"])
                self.report("logs, 1 M lines: wall", figures["logs"], 0.7)
                self.report("logs, 1 M lines: CPU", figures["logs"], 0.3, column=1)
                self.memory("logs, 1 M lines", folders, ["logs", "--no-color"])
                self.once(folders, ["down", "-v"])
            if self.wants("capture") and self.embedded:
                folders = self.project("capture", flood(200))
                begin = time.monotonic()
                self.go("ours", ["up", "-d"], folders["ours"])
                self.go("ours", ["logs", "-f", "-n", "0"], folders["ours"])
                figure = 200 / (time.monotonic() - begin)
                print(f"capture of 200 MB            ours {figure:10.1f} MB/s target 50 MB/s {'met' if figure >= 50 else 'MISSED'}", flush=True)
                self.go("ours", ["down", "-v"], folders["ours"])
        finally:
            shutil.rmtree(self.root, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="", help="comma-separated beginnings: start,up1,up10,up50,load,noop,ps,exec,chain,logs,capture")
    parser.add_argument("--embedded", action="store_true", help="ours on its own engine, the peer on Docker")
    Bench(parser.parse_args()).main()


main()

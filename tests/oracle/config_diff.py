#!/usr/bin/env python3
"""Compares `config`, with each of its flags, with Docker Compose's.

    config_diff.py --peer CMD --ours CMD [--only NAME,…] [--args '…'] [--show N] [--jobs N] PATH…

Every Compose file below the paths is given to both programs, in its own folder, with the same bare environment, once for
each row of `CHECKS`. A check agrees when both refuse, or when both accept and say the same: as data, as a set of lines,
or letter by letter. Differences that are meant are listed in `accepted.json` beside this file, each with its reason, and
are counted apart. Both programs run with bounded memory and time: some files make the peer take all there is.
"""

import argparse
import collections
import json
import os
import re
import resource
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/root", "USER": "root"}
FILE_NAME = re.compile(r"(^|.*[-_.])?(docker-)?compose[^/]*\.ya?ml$")
MEMORY = 4_000_000_000
SECONDS = 20

# name: (arguments behind the file, how the outputs are compared, global arguments)
CHECKS = {
    "json": ("config --format json", "json", ""),
    "yaml": ("config", "text", ""),
    "json-all-profiles": ("config --format json", "json", "--profile *"),
    "yaml-all-profiles": ("config", "text", "--profile *"),
    "json-all-resources": ("config --format json", "json", "--profile * --all-resources"),
    "json-no-interpolate": ("config --no-interpolate --format json", "json", ""),
    "yaml-no-interpolate": ("config --no-interpolate", "text", ""),
    "no-normalize": ("config --no-normalize", "text", ""),
    "no-path-resolution": ("config --no-path-resolution", "text", ""),
    "no-consistency": ("config --no-consistency", "text", ""),
    "no-env-resolution": ("config --no-env-resolution", "text", ""),
    "hash": ("config --hash *", "text", ""),
    "hash-all-profiles": ("config --hash *", "text", "--profile *"),
    "services": ("config --services", "lines", ""),
    "services-no-interpolate": ("config --services --no-interpolate", "lines", ""),
    "volumes": ("config --volumes", "lines", ""),
    "networks": ("config --networks", "lines", ""),
    "models": ("config --models", "lines", ""),
    "images": ("config --images", "lines", ""),
    "profiles": ("config --profiles", "text", ""),
    "variables": ("config --variables", "lines", ""),
    "variables-json": ("config --variables --format json", "json", ""),
    "variables-yaml": ("config --variables --format yaml", "text", ""),
    "environment": ("config --environment", "lines", ""),
    "quiet": ("config -q", "text", ""),
    "output": ("config -o /dev/stdout", "text", ""),
    "lock-image-digests": ("config --lock-image-digests --no-interpolate", "text", ""),
    "compatibility": ("config", "text", "--compatibility"),
    "each-service": ("config --format json {service}", "json", ""),
    "each-service-images": ("config --images {service}", "lines", ""),
}
# Asks a registry, so not unless named.
ON_REQUEST = {"lock-image-digests"}


def files_below(paths, pattern=FILE_NAME):
    for path in paths:
        if os.path.isfile(path):
            yield os.path.abspath(path)
            continue
        for root, folders, names in os.walk(path):
            folders[:] = sorted(f for f in folders if f not in (".git", "node_modules"))
            yield from (os.path.abspath(os.path.join(root, n)) for n in sorted(names) if pattern.match(n))


def run(command, path, arguments):
    """(output, "") or (None, why not)."""
    folder, name = os.path.split(path)
    try:
        done = subprocess.run(command + ["-f", name] + arguments, cwd=folder, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return None, "TIMEOUT"
    errors = done.stderr.decode(errors="replace").strip()
    return (None, errors or f"exit code {done.returncode}") if done.returncode else (done.stdout.decode(errors="replace"), "")


def shown(value):
    return json.dumps(value)[:90]


def differences(theirs, ours, at=""):
    """Paths at which two JSON values differ."""
    if type(theirs) is not type(ours):
        return [f"{at}: {shown(theirs)} | {shown(ours)}"]
    if isinstance(theirs, dict):
        found = []
        for key in sorted(set(theirs) | set(ours)):
            if key not in theirs:
                found.append(f"{at}.{key}: (absent) | {shown(ours[key])}")
            elif key not in ours:
                found.append(f"{at}.{key}: {shown(theirs[key])} | (absent)")
            else:
                found += differences(theirs[key], ours[key], f"{at}.{key}")
        return found
    if isinstance(theirs, list):
        if len(theirs) != len(ours):
            return [f"{at}: {shown(theirs)} | {shown(ours)}"]
        return [d for i, (t, o) in enumerate(zip(theirs, ours)) for d in differences(t, o, f"{at}[{i}]")]
    return [] if theirs == ours else [f"{at}: {shown(theirs)} | {shown(ours)}"]


def first_lines(theirs, ours):
    """The first lines at which two texts differ."""
    t, o = theirs.split("\n"), ours.split("\n")
    for i, (a, b) in enumerate(zip(t, o)):
        if a != b:
            return [f"line {i + 1}: {a[:110]!r} | {b[:110]!r}"]
    return [f"{len(t)} lines | {len(o)} lines"]


def compare(kind, theirs, ours):
    if kind == "json":
        try:
            return differences(json.loads(theirs), json.loads(ours))
        except ValueError as error:
            return [f"no JSON: {error}"]
    if kind == "lines":
        # Columns are as wide as the renderer likes, and lines come in the order of a random map.
        theirs, ours = ("\n".join(sorted(" ".join(line.split()) for line in text.splitlines())) for text in (theirs, ours))
    return [] if theirs == ours else first_lines(theirs, ours)


def services_of(text):
    return sorted((json.loads(text).get("services") or {}).keys()) if text else []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="Docker Compose 2.40")
    parser.add_argument("--ours", required=True)
    parser.add_argument("--only", default="", help=f"some of {', '.join(CHECKS)}")
    parser.add_argument("--args", default="", help="global arguments for both")
    parser.add_argument("--show", type=int, default=40, help="how many differences to tell")
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--name", default=FILE_NAME.pattern, help="a pattern for the names of files")
    parser.add_argument("--strict", action="store_true", help="accept no differences")
    parser.add_argument("paths", nargs="+")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    peer, ours = ([os.path.abspath(w) if os.path.exists(w) else w for w in shlex.split(c)] for c in (options.peer, options.ours))
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "accepted.json")) as file:
        accepted = [] if options.strict else json.load(file)
    checks = [c for c in options.only.split(",") if c] or [c for c in CHECKS if c not in ON_REQUEST]
    for unknown in [c for c in checks if c not in CHECKS]:
        parser.error(f"there is no check {unknown!r}")

    def one(task):
        path, name, service = task
        arguments, kind, extra = CHECKS[name]
        arguments = shlex.split(options.args) + extra.split() + [a.replace("{service}", service) for a in arguments.split()]
        theirs, their_fault = run(peer, path, arguments)
        mine, my_fault = run(ours, path, arguments)
        if theirs is None and mine is None:
            return task, "both refuse", []
        if theirs is None:
            return task, "only ours accepts", [their_fault[-220:]]
        if mine is None:
            return task, "only the peer accepts", [my_fault[-400:]]
        found = compare(kind, theirs, mine)
        return task, "differ" if found else "agree", found

    def tasks():
        for path in files_below(options.paths, re.compile(options.name)):
            for name in checks:
                if "{service}" in CHECKS[name][0]:
                    listed, _ = run(ours, path, shlex.split(options.args) + ["--profile", "*", "config", "--no-consistency", "--format", "json"])
                    yield from ((path, name, service) for service in services_of(listed))
                else:
                    yield path, name, ""

    tally = {name: collections.Counter() for name in checks}
    meant = collections.Counter()
    told = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for (path, name, service), outcome, why in pool.map(one, tasks()):
            if why:
                rule = next((r for r in accepted if outcome in r["outcome"] and all(re.search(r["what"], w, re.S) for w in why)), None)
                if rule:
                    meant[rule["reason"]] += 1
                    outcome = "meant"
                elif told < options.show:
                    told += 1
                    print(f"[{name}] {outcome}: {path} {service}", *(f"    {w}" for w in why[:6]), sep="\n", flush=True)
            tally[name][outcome] += 1
    faults = 0
    for name, counts in tally.items():
        total = sum(counts.values())
        good = counts["agree"] + counts["both refuse"]
        faults += total - good - counts["meant"]
        print(f"{name:24} {good}/{total} same: " + ", ".join(f"{k} {v}" for k, v in sorted(counts.items())))
    for reason, count in sorted(meant.items()):
        print(f"  meant, {count} times: {reason}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()

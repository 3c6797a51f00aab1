#!/usr/bin/env python3
"""Writes one small Compose file for every key of the reference's schema and every odd value, for `config_diff.py`.

    probe.py --schema compose-spec.json --out FOLDER [--sample N]

The schema is that of the Compose specification; each file is valid but for the one key that is probed.
"""

import argparse
import json
import os
import random
import re

VALUES = ["null", "true", "false", "0", "1", "-1", "1.5", "3.0", "1e21", "70000", "0644", '""', '" "', "a", '"1"', '"-1"', '"1.5"', '"true"', '"yes"',
          "off", "1s", "10m", '"64m"', "a=b", "a:b", "a=", "./a", "/a", "[]", "{}", "[a]", '[""]', "[null]", "[a, a]", "[a=b, a=c]", "[1]", "[1.5]",
          "[true]", "[[]]", "[{}]", "[{a: b}]", "{a: b}", "{a: null}", "{a: 1}", "{a: 1.5}", "{a: true}", "{a: []}", "{a: [b, b]}", "{a: {}}",
          "{a: {b: c}}", '{"": b}', '{"a b": c}', "{x-a: []}", "{a.b/c: d}", "2026-11-22", "${HOME}", '"a b"', "A", "é", "all", '"80:80"', "none",
          "service:a", "service:zz", "{b: {condition: service_started}}", "[b]", "1_000", "0x10", "!reset null", "!override [a]"]
SAMPLES = {"target": "/t", "type": "bind", "source": "./s", "path": "./p", "action": "rebuild", "service": "b", "command": "true", "model": "m",
           "soft": "1", "hard": "1", "capabilities": "[gpu]", "condition": "service_started", "content": "c", "file": "./f", "discrete_resource_spec": "{}"}


class Walker:
    def __init__(self, schema):
        self.schema = schema
        self.found = []

    def deref(self, node):
        while "$ref" in node:
            target = self.schema
            for part in node["$ref"].lstrip("#/").split("/"):
                target = target[part]
            node = target
        return node

    def alternatives(self, node):
        node = self.deref(node)
        for inner in node.get("oneOf", []) + node.get("anyOf", []):
            yield from self.alternatives(inner)
        yield node

    def walk(self, node, path, depth=0):
        """`path`: a list of (key or None for a list, required siblings)."""
        for option in self.alternatives(node):
            required = option.get("required", [])
            for key, inner in option.get("properties", {}).items():
                here = path + [(key, [r for r in required if r != key])]
                self.found.append(here)
                self.walk(inner, here, depth + 1)
            for pattern, inner in option.get("patternProperties", {}).items():
                if pattern.startswith("^x-"):
                    continue
                here = path + [("a", [])]
                self.found.append(here)
                if depth < 12:
                    self.walk(inner, here, depth + 1)
            if isinstance(option.get("items"), dict):
                here = path + [(None, [])]
                self.found.append(here)
                self.walk(option["items"], here, depth + 1)


def name_of(path):
    return ".".join("[]" if key is None else key for key, _ in path)


def text_of(path, value):
    """The file in flow style, from the inside out."""
    text = value
    for depth in range(len(path) - 1, -1, -1):
        key, required = path[depth]
        if key is None:
            text = f"[{text}]"
            continue
        parent = [k for k, _ in path[:depth]]
        siblings = {r: SAMPLES.get(r, "1") for r in required}
        if parent and parent[-1] is None and parent[-2] == "ports":
            siblings = {r: "80" for r in siblings}
        if parent == ["services"]:
            siblings = {}
        if len(parent) == 2 and parent[0] == "services" and key not in ("image", "build", "provider"):
            siblings["image"] = "i"
        if len(parent) == 2 and parent[0] in ("secrets", "configs") and key not in ("file", "external"):
            siblings["file"] = "./f"
        if len(parent) == 2 and parent[0] == "models" and key != "model":
            siblings["model"] = "m"
        text = "{" + ", ".join([f"{json.dumps(key)}: {text}"] + [f"{k}: {v}" for k, v in siblings.items() if k != key]) + "}"
    if path[0][0] in ("services",):
        text = text[:-1] + ", networks: {a: , b: }, volumes: {a: , b: }, secrets: {a: {file: ./f}, b: {file: ./f}}, configs: {a: {file: ./f}}, models: {a: {model: m}}}"
        if len(path) > 1:
            text = re.sub(r'^\{"services": \{', '{"services": {b: {image: i}, ', text)
    else:
        text = text[:-1] + ", services: {b: {image: i}}}" if path[0][0] != "services" else text
    return text + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schema", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--sample", type=int, help="this many of the files, at random")
    options = parser.parse_args()
    with open(options.schema) as file:
        walker = Walker(json.load(file))
    walker.walk(walker.schema, [])
    paths = {name_of(p): p for p in walker.found}
    cases = [(name, path, i, value) for name, path in sorted(paths.items()) for i, value in enumerate(VALUES)]
    if options.sample:
        cases = random.Random(1).sample(cases, min(options.sample, len(cases)))
    os.makedirs(options.out, exist_ok=True)
    for name, path, i, value in cases:
        with open(os.path.join(options.out, f"probe-{name}-{i:02}.compose.yaml"), "w") as file:
            file.write(text_of(path, value))
    print(f"{len(cases)} files for {len(paths)} keys in {options.out}")


if __name__ == "__main__":
    main()

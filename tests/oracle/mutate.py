#!/usr/bin/env python3
"""Writes mutated copies of Compose files, for `config_diff.py` to compare.

    mutate.py --out FOLDER [--count N] [--seed N] PATH…

Each case is a folder with a copy of the folder of one of the files (if it is small) and `compose.yaml`, the mutated
file. A mutation takes a key out, doubles one, moves it, gives it another type or an odd value, takes a value from another
file or from the list of odd values here, tags it with `!reset` or `!override`, splits the file in two documents or in a
file that includes or extends another. The same seed gives the same cases.
"""

import argparse
import copy
import glob
import os
import random
import shutil
import sys

import yaml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from config_diff import files_below, run  # noqa: E402

ODD = [
    None, True, False, 0, 1, -1, 5, 80, 1.5, 1e21, 0o644, "", " ", "a", "A", "a=b", "a=", "=b", "a:b", "a: b", "yes", "no", "on", "true",
    "True", "0", "1", "-1", "1.5", "08", "0x10", "1_000", "80", "80:80", "8080-8082:80-82", "127.0.0.1:80:80", "80/udp", "1s", "1m30s", "1h",
    "1d", "10", "64m", "1g", "1.5gb", "10kb", "64 m", "./a", "../a", "/a", "~/a", "a/b", "data:/data", "./a:/b:ro", "/a:/b:z", "v", "all",
    "service:web", "container:x", "host", "none", "default", "always", "missing", "every_1h", "on-failure:3", "bridge", "nginx:alpine",
    "2026-11-22", "é", "x-a", "null", "~", "$$", "$$x", "${X}", "${X:-d}", "${X:-}", "${HOME}", "${X:+y}", "a b", "'a b'", 'a "b c"', "a\nb",
    "a\nb\n", "CMD", "NONE", "tcp", "UDP", "rw", "host=1.2.3.4", "host:1.2.3.4", "fe80::1", "[::1]:80:80", [], {}, [None], ["a"], ["a", "a"],
    ["a", "b"], ["a=b"], ["a=b", "a=c"], ["a=b", "c"], [1], [1, 2], [True], [[]], [{}], [{"a": "b"}], {"a": "b"}, {"a": None}, {"a": 1},
    {"a": True}, {"a": 1.5}, {"a": []}, {"a": ["b", "c"]}, {"a": {}}, {"a": {"b": "c"}}, {"x-a": 1}, {"x-a": {"b": []}}, {"name": "x"},
    {"external": True}, {"external": {"name": "x"}}, {"path": "./a"}, {"path": "a", "required": False}, {"source": "a"},
    {"source": "a", "target": "/b"}, {"target": 80}, {"target": "80", "published": 80}, {"target": 80, "published": "80-82", "protocol": "udp"},
    {"type": "bind", "source": "./a", "target": "/b"}, {"type": "volume", "source": "v", "target": "/b"},
    {"type": "volume", "target": "/b"}, {"type": "tmpfs", "target": "/b", "tmpfs": {"size": "1m", "mode": 755}},
    {"condition": "service_healthy"}, {"condition": "service_started", "restart": True}, {"soft": 1, "hard": 2}, {"context": "."},
    {"test": "true"}, {"test": ["CMD", "true"], "interval": "1s"}, {"disable": True}, {"driver": "local"}, {"driver": "x", "options": {"a": 1}},
    {"capabilities": ["gpu"]}, {"count": "all"}, {"count": 1}, {"device_ids": ["0"]}, {"subnet": "10.0.0.0/8"}, {"aliases": ["a", "a"]},
    {"command": "true"}, {"command": ["true"], "user": "x"}, {"cpus": "0.5", "memory": "1g"}, {"replicas": 2},
]

KEYS = """annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs container_name cpu_count cpu_percent
cpu_shares cpu_quota cpu_period cpu_rt_period cpu_rt_runtime cpus cpuset credential_spec depends_on deploy develop device_cgroup_rules devices
dns dns_opt dns_search domainname entrypoint env_file environment expose extends external_links extra_hosts gpus group_add healthcheck hostname
image init ipc isolation label_file labels links logging mac_address mem_limit mem_reservation mem_swappiness memswap_limit models network_mode
networks oom_kill_disable oom_score_adj pid pids_limit platform ports post_start pre_stop privileged profiles provider pull_policy
pull_refresh_after read_only restart runtime scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls
tmpfs tty ulimits use_api_socket user userns_mode uts volumes volumes_from working_dir x-own""".split()
TOP = ["name", "version", "include", "services", "networks", "volumes", "secrets", "configs", "models", "x-own"]


class Tagged:
    def __init__(self, tag, value):
        self.tag, self.value = tag, value


class Reader(yaml.SafeLoader):
    """Scalars as in the core schema of YAML 1.2, near enough."""


Reader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Reader.add_implicit_resolver("tag:yaml.org,2002:bool", __import__("re").compile("^(true|false|True|False|TRUE|FALSE)$"), list("tTfF"))


def tagged(loader, tag, node):
    value = (loader.construct_mapping(node, deep=True) if isinstance(node, yaml.MappingNode) else
             loader.construct_sequence(node, deep=True) if isinstance(node, yaml.SequenceNode) else loader.construct_scalar(node))
    return Tagged("!" + tag, value)


Reader.add_multi_constructor("!", tagged)


class Writer(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True


def write_tagged(dumper, data):
    node = dumper.represent_data(data.value)
    node.tag = data.tag
    return node


def write_text(dumper, text):
    # What a 1.2 reader takes for a string need not be quoted, and quotes would hide half of the tests.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text)


Writer.add_representer(Tagged, write_tagged)
Writer.add_representer(str, write_text)


def places(node, path=()):
    """Every (container, key, path) of a tree."""
    node = node.value if isinstance(node, Tagged) else node
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(entries):
        yield node, key, path + (key,)
        yield from places(value, path + (key,))


class Mutator:
    def __init__(self, seed, pool):
        self.random, self.pool = random.Random(seed), pool

    def value_for(self, key):
        if self.random.random() < 0.85 and self.pool.get(key):
            return copy.deepcopy(self.random.choice(self.pool[key]))
        return copy.deepcopy(self.random.choice(ODD))

    def service(self, tree):
        services = tree.get("services")
        if isinstance(services, dict) and services:
            service = services[self.random.choice(sorted(services, key=str))]
            if isinstance(service, dict):
                return service
        return None

    def mutate(self, tree):
        kind = self.random.choice(["add", "add", "add", "odd", "odd", "drop", "type", "borrow", "move", "tag", "top", "double", "extension"])
        found = list(places(tree))
        if not found:
            return
        container, key, path = self.random.choice(found)
        name = next((p for p in reversed(path) if isinstance(p, str)), "")
        service = self.service(tree)
        if kind == "add" and service is not None:
            key = self.random.choice(KEYS)
            service[key] = self.value_for(key)
        elif kind == "top":
            key = self.random.choice(TOP)
            tree[key] = self.value_for(key)
        elif kind == "drop":
            del container[key]
        elif kind == "odd":
            container[key] = copy.deepcopy(self.random.choice(ODD))
        elif kind == "borrow":
            container[key] = self.value_for(name)
        elif kind == "type":
            value = container[key]
            if isinstance(value, dict):
                container[key] = [f"{k}={v}" if not isinstance(v, (dict, list)) else k for k, v in value.items()]
            elif isinstance(value, list):
                container[key] = {str(v).partition("=")[0]: str(v).partition("=")[2] or None for v in value if not isinstance(v, (dict, list))}
            elif isinstance(value, str):
                container[key] = self.random.choice([[value], {value: None}, value.split(), {"a": value}])
            else:
                container[key] = str(value) if self.random.random() < 0.5 else [value]
        elif kind == "move":
            value = container[key]
            other, _, _ = self.random.choice(found)
            if isinstance(other, dict):
                del container[key]
                other[str(name)] = value
        elif kind == "tag" and isinstance(container, dict) and not isinstance(container[key], Tagged):
            tag = self.random.choice(["!reset", "!override"])
            container[key] = Tagged(tag, container[key] if isinstance(container[key], (dict, list)) or tag == "!override" else None)
        elif kind == "double" and isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        elif kind == "extension" and isinstance(container, dict):
            container["x-own"] = copy.deepcopy(self.random.choice(ODD))


def text_of(tree):
    return yaml.dump(tree, Dumper=Writer, sort_keys=False, default_flow_style=False, allow_unicode=True)


def small(node, left=1500):
    """Nodes that are left of a budget: aliases can make a tree of any size out of a few lines."""
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        left = small(value.value if isinstance(value, Tagged) else value, left - 1) if left > 0 else left
    return left


def read(path):
    if os.path.getsize(path) > 20_000:
        return None
    try:
        with open(path, encoding="utf-8-sig") as file:
            documents = [d for d in yaml.load_all(file, Loader=Reader)]
    except Exception:  # whatever is no YAML for this reader is no material
        return None
    if len(documents) != 1 or not isinstance(documents[0], dict):
        return None
    try:
        return documents[0] if small(documents[0]) > 0 else None
    except RecursionError:
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--accepted-by", help="a program; files whose `config` it refuses are left out")
    parser.add_argument("paths", nargs="+")
    options = parser.parse_args()
    files = list(files_below(options.paths))
    if options.accepted_by:
        files = [f for f in files if run([options.accepted_by], f, ["config", "-q"])[0] is not None]
    trees = {path: tree for path in files if (tree := read(path)) is not None}
    pool = {}
    for tree in trees.values():
        for container, key, _ in places(tree):
            if isinstance(key, str):
                pool.setdefault(key, []).append(container[key])
    mutator = Mutator(options.seed, pool)
    pick = mutator.random
    order = sorted(trees)
    for number in range(options.count):
        path = pick.choice(order)
        tree = copy.deepcopy(trees[path])
        folder = os.path.join(options.out, f"{options.seed:03}-{number:05}")
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        source = os.path.dirname(path)
        size = sum(os.path.getsize(f) for f in glob.glob(source + "/**", recursive=True) if os.path.isfile(f))
        if size < 200_000:
            shutil.copytree(source, folder, dirs_exist_ok=True, symlinks=True)
        for _ in range(pick.choice([1, 1, 1, 2, 3])):
            mutator.mutate(tree)
        shape = pick.random()
        if shape < 0.15:
            second = {"services": {}}
            for name in (tree.get("services") or {}) if isinstance(tree.get("services"), dict) else {}:
                key = pick.choice(KEYS)
                second["services"][name] = {key: mutator.value_for(key)}
            text = text_of(tree) + "---\n" + text_of(second)
        elif shape < 0.22 and isinstance(tree.get("services"), dict) and tree["services"]:
            base = pick.choice(sorted(tree["services"], key=str))
            key = pick.choice(KEYS)
            tree["services"]["extending"] = {"extends": {"service": base}, key: mutator.value_for(key)}
            text = text_of(tree)
        elif shape < 0.28 and isinstance(tree.get("services"), dict) and tree["services"]:
            with open(os.path.join(folder, "base.yaml"), "w") as file:
                file.write(text_of(tree))
            base = pick.choice(sorted(tree["services"], key=str))
            key = pick.choice(KEYS)
            text = text_of({"services": {"extending": {"extends": {"service": base, "file": "base.yaml"}, key: mutator.value_for(key)}},
                            **{k: v for k, v in tree.items() if k in ("networks", "volumes", "secrets", "configs")}})
        elif shape < 0.34:
            os.makedirs(os.path.join(folder, "sub"), exist_ok=True)
            with open(os.path.join(folder, "sub", "inner.yaml"), "w") as file:
                file.write(text_of(tree))
            text = text_of({"include": [pick.choice(["sub/inner.yaml", {"path": "sub/inner.yaml", "project_directory": "."},
                                                     {"path": ["sub/inner.yaml"]}])], "services": {"own": {"image": "x"}}})
        else:
            text = text_of(tree)
        with open(os.path.join(folder, "mutated.compose.yaml"), "w") as file:
            file.write(text)
    print(f"{options.count} cases of {len(order)} files in {options.out}")


if __name__ == "__main__":
    main()

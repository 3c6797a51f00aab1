#!/usr/bin/env python3
"""Records what Docker Compose makes of small pieces of grammar, in `tests/grammar.json`.

    record.py --peer CMD

`tests/corpus.rs` holds Consort to the recording. A case is `[input, answer]`; `null` stands for a refusal.
"""

import argparse
import json
import os
import re
import shlex
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from config_diff import run  # noqa: E402

SERVICE = "services: {a: {image: i%s}}\n"

SCALARS = """~ null Null NULL nUll true True TRUE tRue false False y Y yes Yes NO off ON 0 -0 +0 7 -12 +12 007 017 -017 08 09 0o17 0O17 -0o7 0x1F 0X1f
-0x10 0b101 0B1 0b2 1_000 1__0 _1 1_ 0x_F 9223372036854775807 9223372036854775808 -9223372036854775808 -9223372036854775809 18446744073709551615
18446744073709551616 1.0 1. .5 -.5 +.5 . .. 1.5e3 1e3 1E3 1e+3 1e-3 1e 1.e1 .e1 1_0.5 1.5_0 123456789.0 1e21 1e6 100000.0 1000000.0 .inf .Inf
-.INF +.inf .nan .NaN nan inf 12:30 12:30:45 190:20:30.15 1:2 2026-11-22 2026-1-2 2026-11-22T10:20:30Z 2026-13-01 20261122 1.2.3 1.2.3.4 0.0.0.0
v1 1a a1 -a - -- --- a-b a_b a.b a/b /a ./a ../a a:b a:b:c :a a: a#b #a = == << * & ! % @ ` | > ? ?a ,a [ ] { } 'q' "q" 'it''s' "a\\tb" "\\x41" "\\u00e9"
"\\q" é 日本 a\\b C:\\x \\\\srv\\x ~a ~/a $$ $$a a$$b {{.x}} !!str !!int !!str|1 0777 1e400 -1e400 0x 0o 0b 0o8 0xg +1.5 +-1 1,000 1' "" '' ' ' <<x""".split()
SCALARS += ["a b", "a  b", "a #b", "a# b", "a: b", "a :b", "- a", "-a b", "? a", "!!str 1", "!!int '7'", "!!float 3", "!!bool yes", "!!null x", "!!binary YQ==",
            "! 1", "!own x", "|\n  a\n  b", "|-\n  a\n  b\n", "|+\n  a\n\n", ">\n  a\n  b\n\n  c\n   d\n", ">-\n  a\n  b", "|2\n   a\n  b", "\n  a\n  b\n\n  c",
            "\"a\n  b\"", "'a\n\n  b'", "\"a\\\n  b\"", "[a, b,]", "[a,, b]", "{a, b}", "{a: }", "[a: b]", "{a: [b, {c: d}]}", "[]", "{}", "2026-11-22 10:20:30", "1 2"]
WORDS = ["", " ", "a", " a  b ", "a 'b c' d", 'a "b c" d', "a\\ b", "'a\\b'", '"a\\b"', '"a\\"b"', "'it'\\''s'", "a'b'c\"d\"", "''", '""', "a ''", "'a", '"a', "a\\",
         "a # b", "a #b", "a;b", "a ; b", "a && b", "a || b", "a | b", "a > b", "a 2>&1", "a < b", "(a)", "`a b`", "a `b` c", "$$A b", "$$(a b)", "$$(a 'b c') d",
         "a\nb", "a\tb", "a \\\n b", "--x=y", "--x='y z'", "--x=\"y z\"", "{a,b}", "*", "~/a", "a=b c", "sh -c 'echo \"x y\"'", "é ü", "a\u00a0b", "a\\nb", "'a' 'b'", "\"'\"",
         "'\"'", "a&b", "a &", "[ -f x ]", "\\'a\\'", "\\\\", "'\\\\'", '"\\\\"']
DURATIONS = ["0", "0s", "1", "10", "1s", "1.5s", ".5s", "1.s", "-1s", "+1s", "1m30s", "1m 30s", "30s1m", "1h1h", "1ms", "1us", "1µs", "1μs", "1ns", "1d", "1w", "1w2d3h", "1M", "1S", "1y",
             "", " ", " 1s", "1s ", "1 s", "s", "1ss", "1e3s", "0x1s", "1h30", "99999999h", "2562047h", "2562048h", "1_0s", "1.5h", "0.001s", "1h0m0.5s", "--1s", "1.5d", "90s", "60m", "1ms1us1ns"]
BYTES = ["0", "1", "10", "64m", "64M", "64mb", "64MB", "64Mb", "64MiB", "64mib", "1k", "1K", "1kb", "1g", "1.5g", "0.5g", ".5g", "1.g", "1t", "1p", "1e", "1b", "1B", "1 m", "1m ", " 1m", "-1", "-1m", "+1m",
         "m", "", " ", "1mm", "1e3", "0x10", "1_000", "1,5g", "10 kb", "10  kb", "9223372036854775807", "9223372036854775808", "1kib", "1ki", "1.5", "1.9b", "1bb", "64MO", "k1", "1.2.3m"]
ENV = ["A=1", "A = 1", "A= 1 ", " A=1", "export A=1", "export  A=1", "exportA=1", "A: 1", "A:1", "A", "A=", "A=''", 'A=""', "A='b c'", 'A="b c"', "A=b c", "A=b #c", "A=b#c", "A='b' #c", "A=\"b\"#c", "#A=1", " # A=1",
       "A='b\nc'", 'A="b\nc"', 'A="b\\nc"', "A='b\\nc'", "A=b\\nc", 'A="b\\tc\\r\\"d\\\\"', "A=$B", "B=2\nA=$B", "B=2\nA=${B}", "B=2\nA=${B:-x}", "A=${B:-x}", "A=${B-x y}", "A='$B'", 'B=2\nA="$B"', "A=$$B",
       'A="$$B"', 'A="\\$B"', "A=\\$B", "A=1\nA=2", "A=1\n\n\nB=2", "A=1\r\nB=2\r\n", "\ufeffA=1", "A.B=1", "A-B=1", "A[0]=1", "A B=1", "1A=1", "é=1", "A=é", "A='b", 'A="b', "A='b' c", "A=\"b\" c", "A='b'c='d'", "=1",
       "A==1", "A=b=c", "A={\"b\": 1}", "A=[1]", "A=`b`", "A=b'c'", "A=b\"c\"", "A='it\\'s'", "A='a''b'", "A=a\tb", "A\t=\tb", "A=1;B=2", "A=# b", "A= # b", "A='#b'", "B=\nA=${B:-x}", "B=\nA=${B-x}", "A=${B:?m}", "A=${",
       "A=${B", "A=$", "A=$1", "A=a$", "A: 'b c'", "A:b:c", "A:\n", "  \n\t\nA=1", "A=1 ", "A=\"1\" ", "A=\\\"b\\\"", "A=b\\", 'A="b\\', "A+B=1", "A/B=1", "A%=1"]
YAML = ["x-a: &a {b: 1}\nx-c: *a\n", "x-a: &a {b: 1, c: 2}\nx-d: {<<: *a, b: 3}\n", "x-a: &a {b: 1}\nx-c: &c {b: 2, d: 3}\nx-e: {<<: [*a, *c], f: 4}\n", "x-a: &a [1]\nx-b: {<<: *a}\n", "x-b: {<<: {c: 1}}\n",
        "x-a: &a {b: 1}\nx-c: {<<: *a, <<: *a}\n", "x-c: {\"<<\": {a: 1}}\n", "x-a: *nowhere\n", "x-a: &a 1\nx-b: &a 2\nx-c: *a\n", "x-a: &a {b: *a}\n", "x-a: 1\nx-a: 2\n", "x-a: {b: 1, b: 2}\n", "x-a: {1: b}\n",
        "x-a: {~: b}\n", "x-a: {true: b}\n", "x-a: {\"1\": b}\n", "x-a:\n- b\n- c\n", "x-a:\n  - - b\n    - c\n  -\n    - d\n", "x-a:\n\tb: 1\n", "x-a: 1\n  b: 2\n", "x-a:\n  b: 1\n c: 2\n", "x-a: [b\n", "x-a: 'b\n",
        "x-a: b: c\n", "x-a: [b, c\nx-d: e]\n", "x-a: b\n--- \nx-c: d\n", "x-a: b\n...\n---\nx-c: d\n", "---\nx-a: b\n---\n", "%YAML 1.1\n---\nx-a: yes\n", "x-a: |\n  b\n # c\n  d\n", "x-a: |\n  b\n\n   c\n\n\nx-d: e\n",
        "x-a: >\n  b\n  c\n\n\n  d\nx-e: f\n", "x-a: b # c\nx-d: 'e' # f\n", "x-a: {b: c, # d\n  e: f}\n", "? x-a\n: b\n", "x-a : b\n", "x-a:b\n", "\ufeffx-a: b\n", "x-a: b\r\nx-c: d\r\n", "x-a: \"b\r\n  c\"\n",
        "x-a: !!map {b: c}\n", "x-a: !!seq [b]\n", "x-a: !!set {b}\n", "x-a: !<tag:yaml.org,2002:str> 1\n", "x-a: !reset b\n", "x-a: !override [b]\n", "x-a: \"\\u263a \\U0001F600\"\n", "x-a: \"\\ud83d\"\n", "x-a: b\u0085c\n",
        "x-a: b\u2028c\n", "x-a: b\u00a0c\n", "x-a: \u0007\n", "x-a: \"\\0\"\n", "x-a: [b: c, d]\n", "x-a: {b: c}d\n", "x-a: - b\n", "x-a: @b\n", "x-a: `b`\n", "x-a: %b\n", "x-a: [,]\n", "x-a: {,}\n", "x-a: &a\nx-b: *a\n",
        "x-a: & b\n", "x-a: [*]\n", "- a\n", "a\n", "", "# c\n", "---\n", "x-a: " + "[" * 60 + "]" * 60 + "\n", "x-a: \"b\\\n   c\"\n", "x-a: 'b\n\n\n  c'\n", "x-a: b\n   c\n  d\n", "x-" + "k" * 200 + ": b\n", "x-a: |1\n  b\n", "x-a: |0\n b\n", "x-a: |+-\n b\n"]
STRINGS = ["", " ", "a", "a b", " a", "a ", "a\nb", "a\nb\n", "a\n\nb\n\n", "a\n b", " a\nb", "a \nb", "a\tb", "\ta", "a\r\nb", "true", "True", "yes", "No", "on", "y", "n", "null", "Null", "~", "1", "01", "0x1", "1.5", "1e3", "1_0", ".5", ".inf",
           "12:30", "12:30:45", "2026-11-22", "a:b", "a: b", "a :b", ":a", "a:", "#a", "a#b", "a #b", "- a", "-a", "-", "--", "---", "? a", "?a", "!a", "&a", "*a", "@a", "`a", "%a", "|a", ">a", "[a", "a]", "{a", "a}", ",a", "a,b", "'a'", "\"a\"", "it's",
           "a\\b", "é", "日本", "\U0001f600", "\u0085", "a\u2028b", "\ufeffa", "\x01", "\x7f", "\u00a0a", "<<", "=", "a=b", "x" * 200, "word " * 40, "{{.a}}", "/a/b", "C:\\a", "a\n\tb", "\n\na", "a\n\n", "- a\n- b\n", "a: b\nc: d\n", "#\n#", "0o17", "0b1",
           "1:2", "+1", "-1", "1,2", "1 2", "a\u00e9\nb", "x\n\x01"]


def ask(peer, files, arguments):
    with tempfile.TemporaryDirectory(prefix="grammar") as folder:
        for name, text in files.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8", newline="") as file:
                file.write(text)
        return run(peer, os.path.join(folder, "compose.yaml"), ["-p", "p"] + arguments)[0]


def data(peer, files, *path):
    output = ask(peer, files, ["config", "--format", "json"])
    value = json.loads(output) if output is not None else None
    if value is None:
        return None
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return {"is": value}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True)
    peer = shlex.split(parser.parse_args().peer)

    def own(files):
        found = data(peer, files)
        return found and {"is": {k: v for k, v in found["is"].items() if k.startswith("x-")}}

    def written(text):
        output = ask(peer, {"compose.yaml": f"x-v: {json.dumps(text)}\n" + SERVICE % ""}, ["config"])
        return output and {"is": re.search(r"^x-v:.*", output, re.M | re.S).group(0)}

    def service(key, text):
        return data(peer, {"compose.yaml": SERVICE % f", {key}: {json.dumps(text)}"}, "services", "a", key)

    recording = {
        "scalars": [[s, data(peer, {"compose.yaml": f"x-v: {s}\n" + SERVICE % ""}, "x-v")] for s in SCALARS],
        "words": [[s, service("command", s)] for s in WORDS],
        "durations": [[s, service("stop_grace_period", s)] for s in DURATIONS],
        "bytes": [[s, service("mem_limit", s)] for s in BYTES],
        "env_files": [[s, data(peer, {"compose.yaml": SERVICE % ", env_file: vars", "vars": s}, "services", "a", "environment")] for s in ENV],
        "yaml": [[s, own({"compose.yaml": s if not s or "---" in s or s[0] not in "x?%\ufeff" else s + SERVICE % ""})] for s in YAML],
        "strings": [[s, written(s)] for s in STRINGS],
    }
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "grammar.json")
    with open(path, "w", encoding="utf-8") as file:
        body = ",\n".join(f"{json.dumps(k)}: [\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]" for k, cases in recording.items())
        file.write("{" + body + "}\n")
    print({k: f"{len(v)}, {sum(a is None for _, a in v)} refused" for k, v in recording.items()})


if __name__ == "__main__":
    main()

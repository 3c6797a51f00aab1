//! What is read from a text, and what is said about it.

use super::{Node, Tag, Value, parse};
use crate::diag::{Diagnostic, SourceMap, Span};
use proptest::prelude::*;

fn read(text: &str) -> (SourceMap, Vec<Node>, Vec<Diagnostic>) {
    let mut sources = SourceMap::new();
    let id = sources.add("c", text);
    let parsed = parse(id, text);
    (sources, parsed.documents, parsed.diagnostics)
}

/// The first document of a text without faults.
fn sound(text: &str) -> (SourceMap, Node) {
    let (sources, mut documents, diagnostics) = read(text);
    assert_eq!(diagnostics, [], "{text}");
    (sources, documents.remove(0))
}

/// `line:col text` of a span.
fn place(sources: &SourceMap, span: Span) -> String {
    format!("{} {}", sources.place(span).trim_start_matches("c:"), sources.text(span).escape_debug())
}

/// `line:col text | message | help`, one for each finding.
fn said(text: &str) -> Vec<String> {
    let (sources, _, diagnostics) = read(text);
    let line = |d: &Diagnostic| format!("{} | {} | {}", place(&sources, d.span.expect("a place")), d.message, d.help.as_deref().unwrap_or(""));
    diagnostics.iter().map(line).collect()
}

#[test]
fn what_a_merge_key_brings_in_vain_is_remembered() {
    let text = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz:\n  <<: [*x, *y]\n  a: 5\n";
    let mut sources = SourceMap::new();
    let id = sources.add("c", text);
    let hidden = parse(id, text).hidden;
    let lines: Vec<String> = hidden.iter().map(|(by, key, value)| [by, key, value].map(|s| place(&sources, *s)).join(" < ")).collect();
    assert_eq!(lines, ["5:3 a < 1:8 a < 1:11 1", "1:14 b < 2:8 b < 2:11 3"]);
}

#[test]
fn every_key_and_value_has_its_place() {
    let text = "a:\n  - x # c\n  - \"y z\"\nb: {c: [1, 2], d: }\ne:\nf: |\n  one\n  two\n\ng: !reset null\nh: !override [1]\n";
    let (sources, root) = sound(text);
    let at = |path: &[&str]| {
        let node = path.iter().fold(&root, |n, key| match key.parse::<usize>() {
            Ok(i) => &n.as_seq().unwrap()[i],
            Err(_) => n.get(key).unwrap(),
        });
        place(&sources, node.span)
    };
    assert_eq!(place(&sources, root.as_map().unwrap().entry("b").unwrap().key_span), "4:1 b");
    assert_eq!(at(&["a"]), "2:3 - x # c\\n  - \\\"y z\\\"");
    assert_eq!(at(&["a", "1"]), "3:5 \\\"y z\\\"");
    assert_eq!(at(&["b"]), "4:4 {c: [1, 2], d: }");
    assert_eq!(at(&["b", "c", "1"]), "4:12 2");
    // A missing value is shown at its key.
    assert_eq!(at(&["b", "d"]), "4:16 d");
    assert_eq!(at(&["e"]), "5:1 e");
    assert_eq!(at(&["f"]), "7:3 one\\n  two");
    assert_eq!(root.get("f").unwrap().as_str(), Some("one\ntwo\n"));
    let tag = |key| (root.get(key).unwrap().tag, root.get(key).unwrap().value.kind());
    assert_eq!((tag("g"), tag("h")), ((Some(Tag::Reset), "null"), (Some(Tag::Override), "a list")));
}

#[test]
fn aliases_and_merge_keys_are_resolved_and_keep_their_places() {
    let text = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\none:\n  a: 0\n  <<: *x\nlist:\n  <<: [*y, *x]\n  d: 5\nkey: &k w\n*k : *k\n";
    let (sources, root) = sound(text);
    let map =
        |key| root.get(key).unwrap().as_map().unwrap().iter().map(|e| format!("{}={:?} {}", e.key, e.value.value, place(&sources, e.value.span)));
    assert_eq!(map("one").collect::<Vec<_>>(), ["a=Int(0) 4:6 0", "b=Int(2) 1:17 2"]);
    assert_eq!(map("list").collect::<Vec<_>>(), ["d=Int(5) 8:6 5", "b=Int(3) 2:11 3", "c=Int(4) 2:17 4", "a=Int(1) 1:11 1"]);
    assert_eq!(root.get("w").unwrap().as_str(), Some("w"));
    // Anchors are known in later documents, and the newest of a name counts.
    let (_, documents, diagnostics) = read("a: &n 1\nb: *n\nc: &n 2\n---\nd: *n\n");
    assert_eq!(diagnostics, []);
    assert_eq!((&documents[0].get("b").unwrap().value, &documents[1].get("d").unwrap().value), (&Value::Int(1), &Value::Int(2)));
}

#[test]
fn documents_and_text_without_content() {
    assert_eq!(read("").1.len() + read("# only this\n").1.len() + read("\n\n").1.len(), 0);
    assert_eq!(read("---\n").1[0].value, Value::Null);
    assert_eq!(read("a: 1\n---\nb: 2\n...\n---\nc: 3\n").1.len(), 3);
    // One that is broken leaves the others.
    let (_, documents, diagnostics) = read("a: 1\n---\nb: [\n---\nc: 3\n---\nd: @\n");
    assert_eq!((documents.len(), diagnostics.len()), (2, 2));
    assert!(documents[1].get("c").is_some());
}

#[test]
fn what_the_reference_reads_by_habit_is_read() {
    for (text, value) in [
        ("a: \"x\"#c\n", "x"),
        ("a: |# c\n  x\n", "x\n"),
        ("a: \"it\\'s \\\"\\'\\\"\"\n", "it's \"'\""),
        ("a: \"x\ny  \nz\"\n", "x y z"),
        ("a: 'x\r\ny'\r\nb: 1\r\n", "x y"),
        ("a: [\n\"x\"\n]#c\n", ""),
        ("a:\tx\n\t\nb: 1\n", "x"),
        ("a: |\n  x", "x"),
    ] {
        let (_, root) = sound(text);
        let a = root.get("a").unwrap();
        assert_eq!(a.as_str().unwrap_or_default(), value, "{text:?}");
    }
}

#[test]
fn faults_are_said_in_plain_words_with_a_cure() {
    let wrong: Vec<_> = FAULTS.iter().filter(|(text, expected)| said(text) != [*expected]).map(|(text, _)| (text, said(text))).collect();
    assert_eq!(wrong, []);
}

#[rustfmt::skip]
const FAULTS: &[(&str, &str)] = &[
    ("a:\n\tb: 1\n", "2:1 \\t | a tab stands in the indentation, where YAML takes only spaces | replace the tab with spaces"),
    ("a:\n  b: 1\n\tc: 2\n", "3:1 \\t | a tab stands in the indentation, where YAML takes only spaces | replace the tab with spaces"),
    ("a: |\n\tx\n", "2:1 \\t | a tab stands in the indentation, where YAML takes only spaces | replace the tab with spaces"),
    ("a: @b c # d\n", "1:4 @ | a plain value can't begin with `@` | put the value in quotes: \"@b c\""),
    ("a: `b`\n", "1:4 ` | a plain value can't begin with a backtick | put the value in quotes: \"`b`\""),
    ("a: %b\n", "1:4 % | a plain value can't begin with `%` | put the value in quotes: \"%b\""),
    ("a: \0\n", "1:4 \\0 | a null character (U+0000) must not stand in YAML | remove it"),
    ("a: b: c\n", "1:5 : | a plain value can't hold a colon before a blank | put it in quotes: \"b: c\""),
    ("command: sh -c \"echo: x\"\n", "1:21 : | a plain value can't hold a colon before a blank | put it in quotes: 'sh -c \"echo: x\"'"),
    ("services:\n  web\n    image: x\n", "2:3 web | `web` is no key: it has no colon | write `web:`"),
    ("web:\n  image: nginx\n    ports:\n      - 80\n", "3:5 ports | `ports` is indented deeper than the line above, whose key has a value already | indent it like `image`"),
    ("web:\n  image:nginx\n  ports: []\n", "2:3 image:nginx | a blank is missing after the colon | write `image: nginx`"),
    ("a: x\ny\n", "2:1 y | `y` is no key: it has no colon | write `y:`, or indent the line if it continues the value above"),
    ("a: 1\nimage:nginx\n", "2:1 image:nginx | a blank is missing after the colon | write `image: nginx`"),
    ("a:\n  b: 1\n c: 2\n", "3:2 c: 2 | the indentation of this line fits no line above | indent it by 2 spaces, like `b`, or not at all, like `a`"),
    ("a:\n  - 1\n- 2\n", "3:1 - 2 | a list item stands where a key was expected | indent it by 2 spaces, like `- 1`, if it belongs to that list"),
    ("a:\n  ports:\n    - 80\n    expose: 1\n", "4:5 expose: 1 | `expose: 1` stands where a list item was expected | begin it with `- `, like the lines above, or move it out of the list"),
    ("- a\nb: c\n", "2:1 b: c | `b: c` stands where a list item was expected | begin it with `- `, like the lines above, or move it out of the list"),
    ("a: \"x\nb: \"y\"\n", "1:4 \\\"x | the quote \" is not closed | put \" at the end of the value"),
    ("a: 'x\n", "1:4 \\'x | the quote ' is not closed | put ' at the end of the value"),
    ("a: 'it's'\n", "1:8 s\\' | text follows the closing quote | inside single quotes an apostrophe is written twice: 'it''s'"),
    ("a: \"b\" c\n", "1:8 c | text follows the closing quote | put the whole value in quotes; a quote inside double quotes is written `\\\"`"),
    ("a: \"b\n c\" d\n", "2:5 d | text follows the closing quote | the value that begins above may lack its closing \""),
    ("a: [1, 2\n", "1:4 [ | `[` is never closed | add `]`"),
    ("a: [1, 2}\n", "1:9 } | `[` is closed by `}` | write `]` instead of `}`"),
    ("a: ]\n", "1:4 ] | a closing bracket that nothing opened | remove it, or put the value in quotes if it is meant as text"),
    ("a: [${B:-x}]\n", "1:6 { | between `[` and `]`, a comma or `]` is missing | inside brackets put variables in quotes: \"${B:-x}\""),
    ("a: {b: c: d}\n", "1:9 : | between `{` and `}`, a comma or `}` is missing | put the text in quotes if the colon belongs to it"),
    ("a: [b,,c]\n", "1:7 , | an item is missing before this comma | remove the comma, or write `\"\"` for an empty item"),
    ("a: *\n", "1:4 * | `*` begins an alias, and its name is missing | if it is meant as text, quote it: \"*\""),
    ("a: & b\n", "1:4 & | `&` begins an anchor, and its name is missing | if it is meant as text, quote it: \"& b\""),
    ("a: \"\\d\"\n", "1:5 \\\\d | `\\d` is no escape of double quotes | write two backslashes, or use single quotes, in which a backslash is just a backslash"),
    ("a: x\n  y # c\n  z\n", "2:5 # c | a comment stands inside a value of several lines | move the comment above the value, or put the value in quotes"),
    ("a: b # c: d\n  e: f\n", "2:3 e | `e` is indented deeper than the line above, whose key has a value already | indent it like `a`"),
    ("a: !foo!x 1\n", "1:4 !foo!x | the tag `!foo!x` is unknown | put quotes around text that begins with `!`; the format's tags are `!reset` and `!override`"),
    ("a: [- b]\n", "1:5 - | `- ` begins a list item, but brackets list their items with commas | remove the `-`, or quote it"),
    ("a: - b\n", "1:4 - | a list can't begin on the line of its key | put `- b` on a line of its own"),
    ("a: |\n    x\n  y\n", "3:3 y | the indentation of this line fits no line above | indent it by 4 spaces, like `x`, or not at all, like `a`"),
    ("a: |x\n b\n", "1:4 |x | text stands on the line of `|` | begin the text on the next line, indented"),
    ("a: ,b\n", "1:4 , | a plain value can't begin with `,` | put the value in quotes: \",b\""),
    ("a: [b] c\n", "1:8 c | text follows a value that is complete | put the whole value in quotes, or remove the text"),
    ("a: \"x\n\ny\"\n", "3:1 y\\\" | a quoted value goes on without indentation | indent this line deeper than the key of the value"),
    ("a:\n- b\n c: 1\n", "2:3 b | `b` is no key: it has no colon | write `b:`"),
    ("a: *x\n", "1:4 *x | no anchor `&x` stands before this alias | define `&x` at an earlier value; if it is meant as text, quote it: \"*x\""),
    ("b: &xx 1\nc: *xy\n", "2:4 *xy | no anchor `&xy` stands before this alias | did you mean `*xx`?"),
    ("a: &x 1\nb: {*x: 2}\n", "2:5 *x: | `*x:` is read as an alias with a colon in its name | put a blank before the colon: `*x :`"),
    ("a: {{.Names}}\n", "1:4 {{.Names}} | `{{ }}` is read as a mapping in a mapping | put the value in quotes if the braces are meant; if this is a template, render it first"),
    ("1: a\n", "1:1 1 | the key `1` is read as a number, and keys are strings | put it in quotes: `\"1\":`"),
    ("true: b\n", "1:1 true | the key `true` is read as a boolean, and keys are strings | put it in quotes: `\"true\":`"),
    (": c\n", "1:1  | a key is missing before the colon | write the key, or `\"\"` for an empty one"),
    ("a: 1\nb: 2\na: 3\n", "3:1 a | the key `a` stands twice in this mapping | keep one of them, or join their values under one"),
    ("a: {<<: 1}\n", "1:5 << | the merge key `<<` takes a mapping, not a number | name mappings by alias: `<<: *name`; for a plain key put `\"<<\"` in quotes"),
    ("<<: {a: 1}\n<<: {b: 2}\n", "2:1 << | the merge key `<<` stands twice in this mapping | write one `<<` with a list: `<<: [*a, *b]`"),
    ("a: !rest x\n", "1:4 !rest | the tag `!rest` has no meaning here and is ignored | did you mean `!reset`?"),
    ("a: !foo [1]\n", "1:4 !foo | the tag `!foo` has no meaning here and is ignored | remove it; the format knows `!reset` and `!override`, YAML `!!str` and the like"),
    ("a: !!bool yes\n", "1:11 yes | `yes` can't be read as `!!bool` | remove the tag or mend the value"),
    ("a: &a [*a]\n", "1:8 *a | this alias stands inside the value that it repeats | let the alias name a value that ends before it"),
];

#[test]
fn several_faults_are_found_at_once() {
    let text =
        "services:\n  web:\n    image: @x\n    ports:\n      - 80\n    command: sh -c \"a: b\"\n    image: y\n  db\n    image: z\nvolumes:\n  v: {\n";
    let lines: Vec<String> = said(text).iter().map(|s| s.split(" | ").next().unwrap_or("").to_owned()).collect();
    assert_eq!(lines, ["3:12 @", "6:22 :", "8:3 db", "11:6 {"]);
    let (_, documents, _) = read(text);
    assert!(documents.is_empty());
    // Both places of a key that stands twice.
    let (sources, _, diagnostics) = read("a: 1\nb:\n  c: 1\n  \"c\": 2\n");
    assert_eq!(place(&sources, diagnostics[0].related[0].0), "3:3 c");
}

#[test]
fn bombs_are_refused_at_once() {
    let laughs: String = (1..30).map(|i| format!("l{i}: &l{i} [{}]\n", vec![format!("*l{}", i - 1); 9].join(","))).collect();
    let (_, documents, diagnostics) = read(&format!("l0: &l0 lol\n{laughs}"));
    assert_eq!((documents.len(), diagnostics.len(), diagnostics[0].code), (0, 1, "alias-limit"));
    // Fifty thousand copies are many, and still a file.
    let copies: String = (1..11).map(|i| format!("l{i}: &l{i} [{}]\n", vec![format!("*l{}", i - 1); 3].join(","))).collect();
    assert_eq!(read(&format!("l0: &l0 {{k: v}}\n{copies}")).2, []);
    let big = format!("a: &a {}\nb: [{}]\n", "x".repeat(1_000_000), vec!["*a"; 1000].join(","));
    assert_eq!(read(&big).2[0].code, "alias-limit");
    let anchors = format!("{}1{}", "&a [".repeat(200), "]".repeat(200)).replace('1', &"x,".repeat(100_000));
    assert_eq!(read(&anchors).2, [], "no alias repeats them");
    assert_eq!(read(&format!("x: {anchors}\ny: *a\n")).2[0].code, "alias-limit");
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", "")] {
        let (_, _, diagnostics) = read(&format!("{}1{}", open.repeat(100_000), close.repeat(100_000)));
        assert_eq!(diagnostics[0].code, "nesting-limit", "{open}");
    }
    let deeper: String = (1..10).map(|i| format!("a{i}: &a{i} {}*a{}{}\n", "[".repeat(100), i - 1, "]".repeat(100))).collect();
    assert_eq!(read(&format!("a0: &a0 1\n{deeper}")).2[0].code, "nesting-limit");
}

/// Pieces of YAML in any order.
fn soup() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "a",
        "b: ",
        "c:\n",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "\t",
        " ",
        "\"",
        "'",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "#",
        " #",
        "&x ",
        "*x",
        "<<: ",
        "*x: ",
        "!",
        "!reset ",
        "!!int ",
        "|",
        ">",
        "|\n",
        "@",
        "`",
        "%",
        "%YAML 1.1\n",
        "---\n",
        "...\n",
        "? ",
        "\\'",
        "\\",
        "\r\n",
        "é",
        "\u{feff}",
        "\u{0}",
        "${A:-b}",
        "\u{7fa}",
        "~",
        "1",
        "\u{85}",
        "\u{2028}",
        "!<",
        "!é",
        "*",
        "&",
    ]);
    prop::collection::vec(pieces, 0..25).prop_map(|p| p.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_panics_and_every_place_is_inside_the_text(text in soup()) {
        let (sources, _, diagnostics) = read(&text);
        for span in diagnostics.iter().flat_map(|d| d.span.into_iter().chain(d.related.iter().map(|r| r.0))) {
            prop_assert!(span.start <= span.end && span.end as usize <= text.len() + 1, "{span:?}");
            prop_assert!(text.is_char_boundary(span.start as usize) && text.is_char_boundary((span.end as usize).min(text.len())));
            sources.place(span);
        }
    }
}

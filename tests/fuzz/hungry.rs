//! Projects of at most a megabyte that ask for a great deal: of memory, of time, of depth.

/// One project.
pub struct Case {
    pub name: &'static str,
    pub files: Vec<(String, String)>,
    /// The code of an error that must be among what is said; `None` if the project is in order.
    pub error: Option<&'static str>,
}

/// `each` for every number below `n`, joined.
fn all(n: usize, each: impl Fn(usize) -> String) -> String {
    (0..n).fold(String::new(), |mut text, i| {
        text.push_str(&each(i));
        text
    })
}

/// A project with the service `a`, `rest` being more lines of it.
fn service(rest: &str) -> String {
    format!("services:\n  a:\n    image: x\n{rest}")
}

fn repeated(text: &str, bytes: usize) -> String {
    text.repeat(bytes / text.len())
}

/// All of them.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name, error, main: String, others: Vec<(String, String)>| {
        let files = std::iter::once(("compose.yaml".to_owned(), main)).chain(others).collect();
        cases.push(Case { name, files, error });
    };
    let one = |name: &str, text: String| vec![(name.to_owned(), text)];
    let none = Vec::new;

    // Aliases, merge keys, extends, include: each may double what there is.
    let laughs = all(30, |i| format!("x-{i}: &l{i} [{}]\n", if i == 0 { "lol, lol".into() } else { format!("*l{0}, *l{0}, *l{0}", i - 1) }));
    add("billion laughs", Some("alias-limit"), laughs + &service(""), none());
    let tripled =
        |depth: usize| all(depth, |i| if i == 0 { "x-0: &t0 {k: v}\n".into() } else { format!("x-{i}: &t{i} [*t{0}, *t{0}, *t{0}]\n", i - 1) });
    add("a hundred thousand values by aliases", None, tripled(11) + &service(""), none());
    add("a million values by aliases", Some("alias-limit"), tripled(13) + &service(""), none());
    let merges = all(40, |i| match i.checked_sub(1) {
        None => "x-0: &l0 {a0: 1}\n".to_owned(),
        Some(before) => format!("x-{i}: &l{i}\n  <<: [*l{before}, *l{before}]\n  a{i}: *l{before}\n"),
    });
    add("merge keys of merge keys", Some("alias-limit"), merges + &service(""), none());
    let long = all(1000, |i| format!("  K{i}: v{i}\n"));
    let sharing = all(130, |i| format!("  s{i}:\n    image: x\n    environment: *e\n"));
    add("one environment for many", None, format!("x-e: &e\n{long}services:\n{sharing}"), none());
    let base = all(2000, |i| format!("      K{i}: v{i}\n"));
    let extending = all(1000, |i| format!("  s{i}:\n    extends: base\n"));
    add("extends of a long service", Some("size-limit"), format!("services:\n  base:\n    image: x\n    environment:\n{base}{extending}"), none());
    let chain = all(4000, |i| if i == 0 { "  s0: {image: x}\n".into() } else { format!("  s{i}: {{extends: s{}}}\n", i - 1) });
    add("a chain of extends", Some("extends-limit"), format!("services:\n{chain}"), none());
    let file = |i: usize, last: usize, times: usize| match i == last {
        true => "services:\n  a:\n    image: x\n".to_owned(),
        false => format!("include: [{}]\n", vec![format!("a{}.yaml", i + 1); times].join(", ")),
    };
    let files = |last, times| (1..=last).map(|i| (format!("a{i}.yaml"), file(i, last, times))).collect::<Vec<_>>();
    add("includes that double", Some("size-limit"), file(0, 25, 2), files(25, 2));
    add("a chain of includes", Some("include-limit"), file(0, 1000, 1), files(1000, 1));
    add("a cycle of includes", Some("include-cycle"), "include: [compose.yaml]\n".into(), none());
    add("a cycle of extends", Some("extends-cycle"), "services:\n  a: {extends: b}\n  b: {extends: a}\n".into(), none());

    // Expressions.
    add(
        "nested defaults",
        Some("invalid-interpolation"),
        service(&format!("    command: '{}{}'\n", "${A:-".repeat(170_000), "}".repeat(170_000))),
        none(),
    );
    add("open expressions", Some("invalid-interpolation"), service(&format!("    command: '{}'\n", "${A:-".repeat(200_000))), none());
    add("broken expressions", Some("invalid-interpolation"), service(&format!("    command: '{}'\n", "${A ".repeat(250_000))), none());
    add("broken expressions in items", Some("invalid-interpolation"), service(&format!("    command:\n{}", "      - ${A\n".repeat(80_000))), none());
    add("many variables", None, service(&format!("    command: '{}'\n", "$A".repeat(100_000))), none());
    let values = all(40_000, |i| format!("      K{i}: $BIG\n"));
    add(
        "a long variable everywhere",
        Some("size-limit"),
        service(&format!("    environment:\n{values}")),
        one(".env", format!("BIG={}\n", "x".repeat(100_000))),
    );
    let doubling = all(40, |i| if i == 0 { "V0=xxxxxxxxxx\n".into() } else { format!("V{i}=${{V{0}}}${{V{0}}}\n", i - 1) });
    add("variables that double", Some("size-limit"), service("    command: $V39\n"), one(".env", doubling));

    // Env files.
    add("a long env file", None, service("    env_file: e\n"), one("e", all(50_000, |i| format!("K{i}=\n"))));
    add("quotes in an env file", None, service("    env_file: e\n"), one("e", "A=\"".repeat(300_000)));
    add("faults in an env file", Some("env-file"), service("    env_file: e\n"), one("e", "a b\n".repeat(250_000)));
    add("one variable again and again", None, service("    env_file: e\n"), one("e", "A=1\n".repeat(250_000)));

    // A megabyte of one thing.
    for (name, text, alone, inside) in [
        ("[", "[", "nesting-limit", "nesting-limit"),
        ("{", "{", "nesting-limit", "nesting-limit"),
        ("[{", "[{", "nesting-limit", "nesting-limit"),
        ("dashes", "- ", "nesting-limit", "yaml-syntax"),
        ("double quotes", "\"", "yaml-syntax", "yaml-syntax"),
        ("question marks", "? ", "nesting-limit", "yaml-syntax"),
        ("empty items", "-\n", "size-limit", "yaml-syntax"),
        ("empty keys", "?\n", "non-string-key", "non-string-key"),
        ("colons", ": ", "non-string-key", "yaml-syntax"),
        ("anchors", "&a ", "yaml-syntax", "yaml-syntax"),
        ("aliases", "*a ", "unknown-anchor", "unknown-anchor"),
        ("directives", "%a\n", "yaml-syntax", "yaml-syntax"),
        ("null characters", "\0", "yaml-syntax", "yaml-syntax"),
        ("keys in lines", "a: ", "yaml-syntax", "yaml-syntax"),
    ] {
        add(name, Some(alone), repeated(text, 1 << 20), none());
        add(name, Some(inside), service(&format!("    command: {}", repeated(text, 300_000))), none());
    }
    add("documents", Some("unknown-key"), "a: 1\n---\n".repeat(110_000), none());
    add("steps", Some("nesting-limit"), all(1400, |i| format!("{}a:\n", " ".repeat(i))), none());
    add("a long line", None, format!("services:\n  a:\n    image: {}\n", "x".repeat(1_000_000)), none());
    add("a long key", Some("unknown-key"), service(&format!("    ? {}\n    : 1\n", "x".repeat(1_000_000))), none());
    add("a long number", Some("bad-value"), service(&format!("    mem_limit: {}\n", "9".repeat(1_000_000))), none());
    add("a long exponent", Some("bad-value"), service(&format!("    cpus: 1e{}\n", "9".repeat(1_000_000))), none());
    add("a long duration", None, service(&format!("    stop_grace_period: {}\n", "1h".repeat(500_000))), none());

    // A hundred thousand of one thing.
    add("unknown keys", Some("unknown-key"), all(60_000, |i| format!("k{i}: 1\n")), none());
    add("keys of one name", Some("duplicate-key"), service(&format!("    environment:\n{}", "      K:\n".repeat(110_000))), none());
    add("variables of a service", None, service(&format!("    environment:\n{}", all(70_000, |i| format!("      K{i}:\n")))), none());
    add("labels", None, service(&format!("    labels:\n{}", all(60_000, |i| format!("      - k{i}\n")))), none());
    add("services", Some("size-limit"), format!("services:\n{}", all(30_000, |i| format!(" s{i}: {{image: x}}\n"))), none());
    add("services of nothing", Some("wrong-type"), format!("services:\n{}", all(100_000, |i| format!(" s{i}:\n"))), none());
    let chain = all(5000, |i| if i == 0 { " s0: {image: x}\n".into() } else { format!(" s{i}: {{image: x, depends_on: [s{}]}}\n", i - 1) });
    add("a chain of dependencies", None, format!("services:\n{chain}"), none());
    let round = all(5000, |i| format!(" s{i}: {{image: x, depends_on: [s{}]}}\n", (i + 1) % 5000));
    add("a circle of dependencies", Some("dependency-cycle"), format!("services:\n{round}"), none());
    let names = |i: usize| all(i, |j| format!("s{j},"));
    let each = all(450, |i| format!(" s{i}: {{image: x, depends_on: [{}]}}\n", names(i)));
    add("each depends on all before", Some("size-limit"), format!("services:\n{each}"), none());
    add("networks nobody knows", Some("undefined-network"), service(&format!("    networks: [{}]\n", all(70_000, |i| format!("n{i},")))), none());
    add("mounts", None, service(&format!("    volumes:\n{}", all(15_000, |i| format!("      - ./a{i}:/b{i}\n")))), none());

    // Numbers that stand for many.
    add("all ports", Some("size-limit"), service("    ports: ['1-65535:1-65535']\n"), none());
    add("all ports many times", Some("size-limit"), service(&format!("    ports:\n{}", "      - 1-65535:1-65535\n".repeat(35_000))), none());
    add("ports of a media server", None, service("    ports: ['10000-20000:10000-20000/udp']\n"), none());
    add("devices without end", Some("unreadable-file"), service("    env_file: /dev/zero\n"), none());
    add("included devices", Some("unreadable-file"), "include: [/dev/zero]\n".into(), none());
    cases
}

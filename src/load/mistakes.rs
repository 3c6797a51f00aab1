//! What people mean when they write something else: keys of other tools and of other levels, words of other languages.
//!
//! Only words for messages: whether something is a fault is decided elsewhere.

use super::keys::{Form, Key, Object, ROOT, SERVICE, Shape};
use super::scalar;
use crate::diag::{Diagnostic, KeyPath, Segment, did_you_mean};
use crate::world::image_path;
use crate::yaml::{Entry, Mapping, Node, Value};

/// `name` as YAML: in quotes where it would be read as something else.
pub(super) fn quoted(text: &str) -> String {
    let risky = text.is_empty()
        || text.contains(['"', '\'', ',', '[', ']', '{', '}', '#', ':', '\n'])
        || text.starts_with(|c: char| "&*!|>%@`-? ".contains(c))
        || text.ends_with(' ')
        || !matches!(crate::yaml::resolve(text), Value::String(_));
    match text {
        text if !risky => text.to_owned(),
        text if text.contains(['"', '\\']) => format!("'{}'", text.replace('\'', "''")),
        text => format!("\"{text}\""),
    }
}

/// Whether a mapping is a service, by its keys.
pub(super) fn looks_like_service(node: &Node) -> bool {
    ["image", "build"].iter().any(|key| node.get(key).is_some())
}

static TOP: Shape = Shape::Object(&ROOT);

/// The objects on the way to `path`, outermost first: each with the key below it that the path goes through.
fn objects_above(path: &KeyPath) -> Vec<(&'static Object, String)> {
    let mut found = Vec::new();
    let mut shape = &TOP;
    for segment in &path.0 {
        let next = match segment {
            Segment::Key(key) => {
                if let Some(object) = object_of(shape) {
                    found.push((object, key.clone()));
                }
                step(shape, key)
            }
            Segment::Index(_) => item_of(shape),
        };
        let Some(next) = next else { break };
        shape = next;
    }
    found
}

/// The key of the table that `path` leads to; indices at its end don't count.
pub(super) fn key_at(path: &KeyPath) -> Option<&'static Key> {
    let mut shape = &TOP;
    let mut found = None;
    for segment in &path.0 {
        shape = match segment {
            Segment::Key(key) => {
                found = object_of(shape).and_then(|o| o.key(key));
                step(shape, key)?
            }
            Segment::Index(_) => item_of(shape)?,
        };
    }
    found
}

fn object_of(shape: &Shape) -> Option<&'static Object> {
    match shape {
        Shape::Object(object) => Some(object),
        Shape::Either(shapes) => shapes.iter().find_map(object_of),
        _ => None,
    }
}

fn item_of(shape: &'static Shape) -> Option<&'static Shape> {
    match shape {
        Shape::List(list) => Some(list.item),
        Shape::Either(shapes) => shapes.iter().find_map(item_of),
        _ => None,
    }
}

fn step(shape: &'static Shape, key: &str) -> Option<&'static Shape> {
    match shape {
        Shape::Object(object) => object.key(key).map(|k| &k.shape),
        Shape::Map(of) => Some(of.value),
        Shape::Either(shapes) => shapes.iter().find_map(|s| step(s, key)),
        _ => None,
    }
}

/// The way down from `object` to a mapping that has `key`, if there is one near: `deploy.resources`.
fn below(object: &'static Object, key: &str) -> Option<Vec<&'static str>> {
    let mut level: Vec<(Vec<&'static str>, &'static Object)> = vec![(Vec::new(), object)];
    for _ in 0..3 {
        let mut next = Vec::new();
        for (way, object) in &level {
            for below in object.keys {
                let Some(inner) = object_of(&below.shape) else { continue };
                let way: Vec<&'static str> = way.iter().copied().chain([below.name]).collect();
                if inner.key(key).is_some() {
                    return Some(way);
                }
                next.push((way, inner));
            }
        }
        level = next;
    }
    None
}

/// `build: {target: …}`
fn nested(way: &[&str], key: &str) -> String {
    way.iter().rev().fold(format!("{key}: …"), |inner, outer| format!("{outer}: {{{inner}}}"))
}

/// A key that its object doesn't have, in `map`, at `path`.
pub(super) fn unknown_key(entry: &Entry, map: &Mapping, object: &'static Object, path: &KeyPath) -> Diagnostic {
    let Entry { key, key_span, value } = entry;
    let place = if path.0.is_empty() { "at the top level".to_owned() } else { format!("in `{path}`") };
    let fault = Diagnostic::error("unknown-key", format!("unknown key `{key}` {place}")).at(*key_span).label(format!("not a key of {}", object.what));
    if let Some(help) = blank_after_colon(map, object) {
        let last = map.iter().last().map_or(*key_span, |e| e.value.span);
        return Diagnostic::error("blank-after-colon", format!("`{path}` is read as a mapping, because a blank follows the colon"))
            .at(crate::diag::Span { end: last.end, ..*key_span })
            .help(help);
    }
    let root = path.0.is_empty();
    if root
        && !map.contains("services")
        && let Some((version, _)) = map.entry("apiVersion").zip(map.entry("kind"))
    {
        return Diagnostic::error("other-format", "this is a manifest of Kubernetes, and no Compose file")
            .at(version.key_span)
            .help("describe what shall run under `services:`, each with its `image`");
    }
    if looks_like_service(value) && (root || std::ptr::eq(object, &raw const SERVICE)) {
        let fault = Diagnostic::error("wrong-level", format!("`{key}` looks like a service and stands {place}")).at(*key_span);
        return match (root, map.contains("services")) {
            (true, true) => fault.help(format!("indent `{key}` and what belongs to it deeper, so that it stands under `services:`")),
            (true, false) => fault.help(format!("put `services:` above it, and indent `{key}` and what belongs to it by 2 spaces")),
            (false, _) => fault.help(format!("indent it like `{}`, so that it stands beside it", path.last_key().unwrap_or_default())),
        };
    }
    if root && SERVICE.key(key).is_some() {
        return Diagnostic::error("wrong-level", format!("`{key}` belongs in a service, and stands at the top level"))
            .at(*key_span)
            .help(format!("write `services: {{web: {{{key}: …}}}}`, on three lines"));
    }
    if root && let Some(own) = key.strip_prefix("x_").or_else(|| key.strip_prefix("x.")) {
        return fault.help(format!("write `x-{own}`"));
    }
    if let Some(help) = elsewhere(object.what, key) {
        return fault.help(help);
    }
    if !root && ROOT.key(key).is_some() {
        return Diagnostic::error("wrong-level", format!("`{key}` belongs at the top level, and stands {place}"))
            .at(*key_span)
            .help("write it without indentation");
    }
    let above = objects_above(path);
    if let Some((owner, through)) = above.iter().rev().find(|(o, _)| !std::ptr::eq(*o, &raw const ROOT) && o.key(key).is_some()) {
        return Diagnostic::error("wrong-level", format!("`{key}` belongs in {}, and stands {place}", owner.what))
            .at(*key_span)
            .help(format!("indent it like `{through}`"));
    }
    if let Some(way) = below(object, key) {
        return fault.help(format!("write `{}`", nested(&way, key)));
    }
    let names = || object.keys.iter().map(|k| k.name);
    if let Some(near) = did_you_mean(key.trim(), names()) {
        return fault.help(format!("did you mean `{near}`?"));
    }
    let list = names().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    match object.keys.len() {
        _ if root => {
            fault.help(format!("if it is your own, write `x-{key}`; the sections are `services`, `networks`, `volumes`, `secrets`, `configs`"))
        }
        _ if key.is_empty() => fault.help("write the key in front of the colon, or take the line out"),
        1..=12 => fault.help(format!("the keys of {} are {list}", object.what)),
        _ => fault.help(format!("take it out; a key of your own begins with `x-`: `x-{key}`")),
    }
}

/// `- 8080: 80` where `- 8080:80` is meant: the cure.
fn blank_after_colon(map: &Mapping, object: &Object) -> Option<String> {
    let [Entry { key, value, .. }] = map.iter().as_slice() else { return None };
    let text = scalar::text(value).filter(|t| !t.is_empty())?;
    match object.what {
        "a port" if key.starts_with(|c: char| c.is_ascii_digit() || c == '[') => Some(format!("write `- \"{key}:{text}\"`")),
        "a mount" | "a device" if text.starts_with('/') => Some(format!("write `- {}`", quoted_path(&format!("{key}:{text}")))),
        "a reference to a file" => Some(format!("write `- {{source: {}, target: {}}}`", quoted(key), quoted(&text))),
        _ => None,
    }
}

/// A mount as it stands in a list: its colons need no quotes.
fn quoted_path(text: &str) -> String {
    if text.contains(": ") || text.contains(" #") || text.contains(['"', '\'']) { quoted(text) } else { text.to_owned() }
}

/// Keys of other tools, of other versions and of `docker run`, and what to write instead. The names are in lower case,
/// with underscores.
const ELSEWHERE: &[(&str, &[&str], &str)] = &[
    ("a service", &["net"], "write `network_mode`"),
    ("a service", &["env", "envs", "env_vars", "variables"], "write `environment`"),
    ("a service", &["publish", "published_ports"], "write `ports`"),
    ("a service", &["workdir", "cwd", "directory", "dir"], "write `working_dir`"),
    ("a service", &["memory", "mem", "memory_limit"], "write `mem_limit`"),
    ("a service", &["memory_reservation"], "write `mem_reservation`"),
    ("a service", &["memory_swap"], "write `memswap_limit`"),
    ("a service", &["memory_swappiness"], "write `mem_swappiness`"),
    ("a service", &["cpu", "cpu_limit"], "write `cpus`"),
    ("a service", &["cpuset_cpus"], "write `cpuset`"),
    ("a service", &["rm", "auto_remove", "autoremove"], "take it out: `consort down` removes containers"),
    ("a service", &["detach", "d"], "take it out, and say `consort up -d`"),
    ("a service", &["interactive"], "write `stdin_open: true`"),
    ("a service", &["terminal"], "write `tty: true`"),
    ("a service", &["name", "container"], "write `container_name`, or change the key of the service"),
    ("a service", &["add_host", "hosts", "host_aliases"], "write `extra_hosts`"),
    (
        "a service",
        &["health_cmd", "health", "probe", "liveness_probe", "livenessprobe", "readinessprobe", "readiness_probe"],
        "write `healthcheck: {test: …}`",
    ),
    ("a service", &["health_interval"], "write `healthcheck: {interval: …}`"),
    ("a service", &["health_timeout"], "write `healthcheck: {timeout: …}`"),
    ("a service", &["health_retries"], "write `healthcheck: {retries: …}`"),
    ("a service", &["health_start_period"], "write `healthcheck: {start_period: …}`"),
    ("a service", &["no_healthcheck"], "write `healthcheck: {disable: true}`"),
    ("a service", &["log_driver"], "write `logging: {driver: …}`"),
    ("a service", &["log_opt", "log_opts"], "write `logging: {options: …}`"),
    ("a service", &["mount", "mounts", "volumemounts", "volume_mounts"], "write `volumes`, with `type`, `source` and `target` in each item"),
    ("a service", &["volume_driver"], "write `driver` at the volume, at the top level"),
    ("a service", &["restart_policy", "restartpolicy"], "write `restart: always`, or `deploy: {restart_policy: {condition: any}}`"),
    ("a service", &["args", "cmd", "run", "exec", "arguments"], "write `command`; arguments of a build are `build: {args: …}`"),
    ("a service", &["replicas", "instances", "count"], "write `scale`, or `deploy: {replicas: …}`"),
    ("a service", &["pull", "imagepullpolicy", "image_pull_policy"], "write `pull_policy`"),
    ("a service", &["requires", "needs", "wait_for", "after"], "write `depends_on`"),
    ("a service", &["stop_timeout", "grace_period", "terminationgraceperiodseconds"], "write `stop_grace_period`"),
    ("a service", &["timezone", "tz"], "write `environment: {TZ: …}`"),
    ("a service", &["aliases", "network_alias", "network_aliases"], "write `networks: {default: {aliases: […]}}`"),
    ("a service", &["ip", "ip_address", "ipv4_address"], "write `networks: {default: {ipv4_address: …}}`"),
    ("a service", &["limits"], "write `deploy: {resources: {limits: …}}`"),
    ("build", &["path", "dir", "directory", "folder"], "write `context`"),
    ("build", &["file", "docker_file"], "write `dockerfile`"),
    ("build", &["arguments", "build_args"], "write `args`"),
    ("build", &["stage"], "write `target`"),
    ("limits", &["mem", "mem_limit", "memory_limit"], "write `memory`"),
    ("limits", &["cpu_limit"], "write `cpus`"),
    ("limits", &["pids_limit"], "write `pids`"),
    ("a network", &["subnet", "gateway", "ip_range"], "write `ipam: {config: [{subnet: …}]}`"),
    ("ipam", &["subnet", "gateway", "ip_range"], "write `config: [{subnet: …}]`"),
    ("a place on a network", &["ip", "ip_address", "address", "ipv4"], "write `ipv4_address`"),
    ("a place on a network", &["ipv6"], "write `ipv6_address`"),
    (
        "a volume",
        &["path", "device", "source", "mountpoint"],
        "write `driver_opts: {type: none, o: bind, device: /path}`, or mount the path in the service",
    ),
    ("a volume", &["type", "o", "size", "options", "opts"], "write it under `driver_opts`"),
    ("a secret", &["content", "value", "data"], "write `environment: VARIABLE` or `file: PATH`; only configs have `content`"),
    ("a secret", &["path", "source"], "write `file`"),
    ("a secret", &["env", "variable"], "write `environment`"),
    ("a config", &["path", "source"], "write `file`"),
    ("a config", &["env", "variable"], "write `environment`"),
    ("a config", &["value", "data", "text", "template"], "write `content`"),
    ("a dependency", &["timeout"], "take it out: `consort up --wait-timeout` bounds the wait"),
    ("a healthcheck", &["cmd", "command", "exec"], "write `test`"),
    ("a healthcheck", &["start_up", "startup", "delay", "initialdelayseconds", "initial_delay"], "write `start_period`"),
    ("a healthcheck", &["period", "periodseconds"], "write `interval`"),
    ("logging", &["type"], "write `driver`"),
    ("logging", &["opts", "opt", "log_opts"], "write `options`"),
    ("logging", &["max_size", "max_file", "tag", "labels", "compress", "mode"], "write it under `options`"),
    ("extends", &["name"], "write `service`"),
    ("extends", &["path"], "write `file`"),
    ("an entry of include", &["file", "files", "source"], "write `path`"),
    ("a trigger", &["dest", "destination", "to", "dst"], "write `target`"),
    ("a trigger", &["src", "source", "from"], "write `path`"),
    ("a trigger", &["exclude", "excludes", "excluded"], "write `ignore`"),
    ("a trigger", &["type"], "write `action`"),
    ("a mount", &["src", "from", "host"], "write `source`"),
    ("a mount", &["dst", "dest", "destination", "path", "to"], "write `target`"),
    ("a mount", &["ro"], "write `read_only: true`"),
    ("a port", &["host", "host_port", "external"], "write `published`"),
    ("a port", &["container", "container_port", "internal", "port"], "write `target`"),
    ("a port", &["ip", "address"], "write `host_ip`"),
    ("a device request", &["ids"], "write `device_ids`"),
    ("a GPU", &["ids"], "write `device_ids`"),
    ("a limit", &["max"], "write `hard`"),
    ("a limit", &["min"], "write `soft`"),
    ("a restart policy", &["name", "policy", "type"], "write `condition`"),
    ("a restart policy", &["retries", "max_retries", "maximum_retry_count"], "write `max_attempts`"),
    ("a hook", &["cmd", "run", "exec"], "write `command`"),
    ("a hook", &["env"], "write `environment`"),
    ("deploy", &["scale", "count", "instances"], "write `replicas`"),
    ("deploy", &["restart"], "write `restart_policy: {condition: …}`"),
];

fn elsewhere(what: &str, key: &str) -> Option<&'static str> {
    let key = key.to_lowercase().replace('-', "_");
    ELSEWHERE.iter().find(|(object, names, _)| *object == what && names.contains(&key.as_str())).map(|(_, _, help)| *help)
}

/// The key that a scalar in place of an object most likely is the value of.
pub(super) fn inner_key(object: &Object) -> Option<&'static str> {
    Some(match object.what {
        "a service" => "image",
        "a healthcheck" => "test",
        "logging" | "a network" => "driver",
        "a dependency" | "a restart policy" => "condition",
        "a secret" | "a config" => "file",
        "a hook" => "command",
        "an env file" => "path",
        "build" => "context",
        "extends" => "service",
        "a model" => "model",
        "a provider" => "type",
        "a GPU" | "a device request" => "count",
        _ => return None,
    })
}

/// What is meant by an item that is a mapping where a string is wanted.
pub(super) fn mapping_for_item(map: &Mapping, path: &KeyPath) -> String {
    let form = key_at(path).map(|k| k.form);
    let key = map.iter().next().map_or("", |e| e.key.as_str());
    match (map.iter().as_slice(), form) {
        ([Entry { key, value, .. }], Some(Form::KeyValues | Form::Environment)) if scalar::text(value).is_some() => {
            let text = scalar::text(value).unwrap_or_default();
            format!("write `- {}`, or `{key}: {}` without the dash, in all lines alike", quoted_path(&format!("{key}={text}")), quoted(&text))
        }
        (_, Some(Form::KeyValues | Form::Environment)) => "take the dashes of this list away, so that it is a mapping".to_owned(),
        (_, Some(Form::DependsOn | Form::Names)) => format!("take the dashes of this list away: `{key}:`"),
        ([Entry { key, value, .. }], _) if scalar::text(value).is_some() => {
            format!("if it is one text, put it in quotes: `- \"{key}: {}\"`", scalar::text(value).unwrap_or_default())
        }
        _ => "write a string".to_owned(),
    }
}

/// What is wrong with a restart policy, which engines refuse: the cure.
pub(super) fn restart(policy: &str) -> Option<String> {
    const POLICIES: [&str; 4] = ["no", "always", "on-failure", "unless-stopped"];
    let (name, retries) = policy.split_once(':').map_or((policy, None), |(name, retries)| (name, Some(retries)));
    match (name, retries) {
        ("" | "no" | "always" | "on-failure" | "unless-stopped", None) => None,
        ("on-failure", Some(retries)) if retries.parse::<u32>().is_ok() => None,
        ("on-failure", Some(_)) => Some("write a number of attempts: `on-failure:3`".to_owned()),
        ("no" | "always" | "unless-stopped", Some(_)) => Some(format!("write `{name}`: only `on-failure` takes a number")),
        ("never" | "false" | "none" | "off", _) => Some("write `\"no\"`".to_owned()),
        ("true" | "yes" | "on" | "any", _) => Some("write `always`".to_owned()),
        _ => Some(match did_you_mean(&name.replace('_', "-"), POLICIES) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write `no`, `always`, `on-failure`, `on-failure:3` or `unless-stopped`".to_owned(),
        }),
    }
}

/// What is wrong with the name of an image, which engines refuse: the cure.
pub(super) fn image(name: &str) -> Option<String> {
    if image_path(name).is_some() {
        return None;
    }
    let bare = name.split_once("://").map_or(name, |(_, rest)| rest);
    let repository = bare.split('@').next().unwrap_or_default();
    let (repository, tag) = match repository.rfind(':') {
        Some(colon) if !repository[colon..].contains('/') => (&repository[..colon], Some(&repository[colon + 1..])),
        _ => (repository, None),
    };
    let path = repository.split_once('/').filter(|(host, _)| host.contains(['.', ':']) || *host == "localhost").map_or(repository, |(_, path)| path);
    if bare != name {
        return Some(format!("write `{bare}`: an image has no scheme"));
    }
    if name.contains(char::is_whitespace) {
        return Some("take the blanks out".to_owned());
    }
    if let Some((before, _)) = name.split_once('#') {
        return Some(format!("put a blank in front of `#` if a comment begins there: `{before} #…`"));
    }
    if path.contains(|c: char| c.is_ascii_uppercase()) {
        let lower = path.to_ascii_lowercase();
        return Some(format!("write `{}`: only tags have capital letters", name.replacen(path, &lower, 1)));
    }
    (path.is_empty() || path.ends_with(['/', ':']) || path.contains("//") || path.contains(':') || tag == Some(""))
        .then(|| "write `name:tag` or `registry/name:tag`".to_owned())
}

/// A length of time in the words of people: `5 minutes`, `3sec`, `10`.
pub(super) fn duration(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase();
    let number = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (digits, unit) = text.split_at(number);
    let unit = match unit.trim() {
        "" | "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hrs" | "hour" | "hours" => "h",
        "d" | "day" | "days" => "d",
        "w" | "week" | "weeks" => "w",
        "ms" | "msec" | "millis" | "milliseconds" => "ms",
        _ => return None,
    };
    (!digits.is_empty()).then(|| format!("{digits}{unit}"))
}

/// A size in the words of people: `1.5 gigs`, `512 megabytes`.
pub(super) fn size(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase();
    let number = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let (digits, unit) = text.split_at(number);
    let unit = unit.trim();
    let letter = unit.chars().next().filter(|c| "kmgt".contains(*c))?;
    let known = ["gig", "gigs", "giga", "gigabyte", "gigabytes", "meg", "megs", "mega", "megabyte", "megabytes", "kilobyte", "kilobytes"];
    let bits = ["kbit", "mbit", "gbit", "ki", "mi", "gi", "ti"];
    (digits.parse::<f64>().is_ok() && (known.contains(&unit) || bits.contains(&unit))).then(|| format!("{digits}{letter}"))
}

/// A value that ends like a line of another language: without its end.
pub(super) fn without_end(text: &str) -> Option<(&str, &'static str)> {
    text.strip_suffix(',').map(|t| (t, "comma")).or_else(|| text.strip_suffix(';').map(|t| (t, "semicolon")))
}

/// Typographic quotes are letters to YAML: the text without them.
pub(super) fn without_typographic_quotes(text: &str) -> Option<String> {
    let odd = ['“', '”', '„', '‟', '‘', '’', '‚', '«', '»'];
    text.contains(odd).then(|| text.replace(odd, ""))
}

/// Lines at the top of a file whose indentation is made of blanks that are none to YAML.
pub(super) fn odd_indentation(document: &Node) -> Option<Diagnostic> {
    let odd_blanks = |key: &str| key.len() - key.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{200b}' || c == '\u{feff}').len();
    let (entry, blanks, odd) = document.as_map()?.iter().find_map(|e| {
        let blanks = odd_blanks(&e.key);
        Some((e, blanks, e.key[..blanks].chars().find(|c| !c.is_ascii())?))
    })?;
    let name = if odd == '\u{a0}' { "no-break spaces (U+00A0)".to_owned() } else { format!("blanks U+{:04X}", u32::from(odd)) };
    Some(
        Diagnostic::error("odd-indentation", format!("this line is indented with {name}, which indent nothing"))
            .at(entry.key_span.part(0, blanks))
            .help("replace them with ordinary spaces, here and in the lines below"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_names_only_what_the_format_does_not_have() {
        fn objects(shape: &'static Shape, found: &mut BTreeSet<*const Object>, all: &mut Vec<&'static Object>) {
            match shape {
                Shape::Object(object) if found.insert(std::ptr::from_ref(*object)) => {
                    all.push(object);
                    object.keys.iter().for_each(|k| objects(&k.shape, found, all));
                }
                Shape::List(list) => objects(list.item, found, all),
                Shape::Map(map) => objects(map.value, found, all),
                Shape::Either(shapes) => shapes.iter().for_each(|s| objects(s, found, all)),
                _ => {}
            }
        }
        let mut all = Vec::new();
        objects(&TOP, &mut BTreeSet::new(), &mut all);
        for (what, names, help) in ELSEWHERE {
            let of: Vec<_> = all.iter().filter(|o| o.what == *what).collect();
            assert!(!of.is_empty(), "no object is called {what}");
            for name in *names {
                assert!(of.iter().any(|o| o.key(name).is_none()), "{what} has the key {name}");
                assert_eq!(*name, name.to_lowercase().replace('-', "_"));
            }
            let key = help.split('`').nth(1).and_then(|cure| cure.split([':', ' ']).next()).unwrap_or_default();
            let known = key == "consort" || help.contains("top level") || of.iter().any(|o| o.key(key).is_some());
            assert!(known, "{what}: {help}");
        }
    }

    #[test]
    fn what_engines_refuse() {
        for (policy, fits) in
            [("always", true), ("on-failure:3", true), ("no", true), ("allways", false), ("on-failure:x", false), ("always:3", false)]
        {
            assert_eq!(restart(policy).is_none(), fits, "{policy}");
        }
        for name in ["nginx", "nginx:1.25", "a.b:5000/x/y:T", "localhost/x", "x@sha256:00", "registry.example.com/team/app:V1", "a_b/c-d", "1"] {
            assert_eq!(image(name), None, "{name}");
        }
        for name in ["Nginx", "nginx:", ":x", "https://x/y", "a b", "x::y", "h.x:5000/", "a//b"] {
            assert!(image(name).is_some(), "{name}");
        }
    }

    #[test]
    fn words_of_people() {
        for (text, meant) in [("5 minutes", Some("5m")), ("3sec", Some("3s")), ("10", Some("10s")), ("one minute", None), ("5 parsecs", None)] {
            assert_eq!(duration(text).as_deref(), meant, "{text}");
        }
        for (text, meant) in [("1.5 gigs", Some("1.5g")), ("512Mi", Some("512m")), ("lots", None), ("512x", None)] {
            assert_eq!(size(text).as_deref(), meant, "{text}");
        }
        for (text, yaml) in
            [("a", "a"), ("80:80", "\"80:80\""), ("80", "\"80\""), ("", "\"\""), ("a\"b", "'a\"b'"), ("-x", "\"-x\""), ("true", "\"true\"")]
        {
            assert_eq!(quoted(text), yaml);
        }
    }
}

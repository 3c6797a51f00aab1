//! Variables: those that aren't set, those that are set in vain.

use super::Search;
use crate::diag::{Diagnostic, KeyPath, Segment, Span, did_you_mean};
use crate::load::trace::{Mention, Origin, Outcome};
use crate::yaml::Node;
use std::collections::{BTreeMap, BTreeSet};

/// Variables for programs that read env files too: Compose, Docker, ourselves.
const OURS: [&str; 4] = ["COMPOSE_", "DOCKER_", "BUILDKIT_", "CONSORT_"];

pub(super) fn find(search: &mut Search<'_>) {
    secrets(search);
    unset(search);
    defaults(search);
    twice(search);
    unused(search);
}

/// Whether a name is that of something secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let word = |w: &&str| {
        matches!(*w, "pass" | "passwd" | "passphrase" | "pwd" | "pw" | "token" | "apikey" | "salt" | "credentials")
            || w.ends_with("password")
            || w.ends_with("secret")
    };
    words.iter().any(word) || words.windows(2).any(|w| matches!(w, ["api" | "private" | "access" | "secret" | "encryption", "key"]))
}

/// The key that the text at `at` is the value of, and the whole value, by the line of the file.
fn around<'a>(search: &Search<'a>, at: Span) -> Option<(&'a str, &'a str)> {
    let text: &str = &search.loaded.sources.file(at.source).text;
    let (start, end) = (at.start as usize, at.end as usize);
    let line_start = text.get(..start)?.rfind('\n').map_or(0, |n| n + 1);
    let line_end = text.get(end..)?.find('\n').map_or(text.len(), |n| end + n);
    let before = &text[line_start..start];
    let sign = before.find(['=', ':'])?;
    let key = before[..sign].trim().trim_start_matches("- ").trim_matches(['"', '\'', ' ']);
    let key = key.rsplit([' ', '{', ',']).next().unwrap_or(key);
    let mut value = text[line_start + sign + 1..line_end].trim();
    // `{A: x, B: y}` ends where the next one begins.
    if key.len() < before[..sign].trim().len() {
        value = value.split(", ").next().unwrap_or(value).trim_end_matches(['}', ' ']);
    }
    Some((key, value.trim_matches(['"', '\''])))
}

/// `PASSWORD=pa$word`.
fn secrets(search: &mut Search<'_>) {
    let mut found = Vec::new();
    for (i, finding) in search.found.iter().enumerate().filter(|(_, d)| d.code == "unset-variable") {
        let Some(span) = finding.span else { continue };
        let expression = search.loaded.sources.text(span);
        let Some(name) = expression.strip_prefix('$').filter(|n| !n.starts_with('{')) else { continue };
        let Some((key, value)) = around(search, span) else { continue };
        let in_address = value
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('@'))
            .is_some_and(|(user, _)| user.split_once(':').is_some_and(|(_, password)| password.contains(expression) && password != expression));
        if value == expression || !(in_address || is_secret(key) && !value.contains("://")) {
            continue;
        }
        let in_env_file = !search.loaded.trace.mentions.iter().any(|m| m.span.source == span.source);
        let cure = if in_env_file { "put the value in single quotes, or write `$$` for the dollar sign" } else { "write `$$` for the dollar sign" };
        let message = format!("`{expression}` in the value of {key} is taken for the variable {name}, which is not set: it becomes nothing");
        found.push((i, Diagnostic::warning("dollar-in-secret", message).at(span).help(cure)));
    }
    for (i, finding) in found {
        search.found[i] = finding;
    }
}

/// Variables that env files of services set, each with a place.
fn of_env_files<'a>(search: &Search<'a>) -> BTreeMap<&'a str, Span> {
    let layers = search.loaded.trace.layers.iter().filter(|l| matches!(l.origin, Origin::EnvFile(_)));
    layers.flat_map(|l| l.node.as_map().into_iter().flatten()).map(|e| (e.key.as_str(), e.key_span)).collect()
}

/// The service that a value belongs to.
fn service_of(path: &KeyPath) -> Option<&str> {
    match path.0.as_slice() {
        [Segment::Key(section), Segment::Key(name), ..] if section == "services" => Some(name),
        _ => None,
    }
}

/// Whether a value is read by a shell inside the container.
fn is_command(path: &KeyPath) -> bool {
    path.0.iter().skip(2).any(|s| matches!(s, Segment::Key(k) if matches!(k.as_str(), "command" | "entrypoint" | "test")))
}

/// Why a variable isn't set, where that can be told.
fn unset(search: &mut Search<'_>) {
    let env_files = of_env_files(search);
    let trace = &search.loaded.trace;
    let mut found: Vec<(Diagnostic, Vec<Span>)> = Vec::new();
    let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
    for mention in trace.mentions.iter().filter(|m| m.outcome == Outcome::Nothing { meant: false }) {
        let name = mention.name.as_str();
        let inside = service_of(&mention.path).and_then(|s| {
            let node = search.node(&KeyPath::of(["services", s, "environment"]))?;
            let own = node.as_map()?.entry(name)?;
            // `NAME: ${NAME}` has no value either.
            let itself =
                trace.mentions.iter().any(|m| m.name == name && m.scalar.source == own.value.span.source && contains(m.scalar, own.value.span));
            Some((s, own.key_span)).filter(|_| !itself).filter(|_| is_command(&mention.path))
        });
        if let Some((service, place)) = inside {
            let message = format!("`{}` is replaced before {service:?} sees it, and {name} is set only inside the container", mention.text);
            let escaped = mention.text.replacen('$', "$$", 1);
            let finding =
                Diagnostic::warning("shell-variable", message).at(mention.span).related(place, "set here").help(format!("write `{escaped}`"));
            found.push((finding, vec![mention.span]));
        } else if let Some(place) = env_files.get(name).filter(|_| seen.insert(("env", name))) {
            let file = &search.loaded.sources.file(place.source).name;
            let message = format!("{name} is not set here: {file} is an `env_file`, which only containers see");
            let finding = Diagnostic::warning("env-file-not-for-files", message)
                .at(mention.span)
                .related(*place, "set here")
                .help(format!("put it into `.env`, or use `--env-file {file}`"));
            found.push((finding, same(&trace.mentions, name)));
        } else if let Some(near) = near(search, name).filter(|_| seen.insert(("near", name))) {
            let setting = trace.environments.iter().flat_map(|e| &e.settings).find(|s| s.name == near);
            let message = format!("the variable {name} is not set, but {near} is and nothing uses it");
            let mut finding = Diagnostic::warning("near-variable", message).at(mention.span).help(format!("did you mean `{near}`?"));
            finding.related.extend(setting.map(|s| (s.key_span, "set here".to_owned())));
            found.push((finding, same(&trace.mentions, name)));
        }
    }
    for (finding, places) in found {
        let told = |d: &Diagnostic| d.code == "unset-variable" && d.span.is_some_and(|s| places.contains(&s));
        search.found.retain(|d| !told(d));
        search.found.push(finding);
    }
}

/// Every place of a variable.
fn same(mentions: &[Mention], name: &str) -> Vec<Span> {
    mentions.iter().filter(|m| m.name == name).map(|m| m.span).collect()
}

/// A variable of an env file that nothing uses and that is called nearly so.
fn near<'a>(search: &Search<'a>, name: &str) -> Option<&'a str> {
    let trace = &search.loaded.trace;
    let set = trace.environments.iter().flat_map(|e| &e.settings).map(|s| s.name.as_str());
    let free = set.filter(|s| *s != name && !trace.mentions.iter().any(|m| m.name == **s));
    did_you_mean(name, free)
}

/// A default is used where an `env_file` has another value.
fn defaults(search: &mut Search<'_>) {
    let env_files = of_env_files(search);
    let trace = &search.loaded.trace;
    let mut found = Vec::new();
    for mention in &trace.mentions {
        let Outcome::Default(default) = &mention.outcome else { continue };
        let [Segment::Key(section), Segment::Key(service), Segment::Key(list), ..] = mention.path.0.as_slice() else { continue };
        // A variable that is handed in under its own name covers what the service's own env file says.
        if section != "services" || list != "environment" {
            continue;
        }
        let at = KeyPath::of(["services", service.as_str(), "environment"]);
        let layers = trace.layers.iter().filter(|l| l.at == at && matches!(l.origin, Origin::EnvFile(_)));
        let said = layers.filter_map(|l| l.node.as_map()?.entry(&mention.name)).next_back();
        let Some(said) = said.filter(|e| e.value.as_str().is_some_and(|v| v != default)) else { continue };
        let own = search.node(&at.key(&mention.name)).is_some_and(|n| n.span.source == mention.scalar.source && contains(mention.scalar, n.span));
        if own && env_files.contains_key(mention.name.as_str()) {
            let file = &search.loaded.sources.file(said.key_span.source).name;
            let message =
                format!("{} is the default {default:?}, and covers what {file} says: an `env_file` is read by containers only", mention.name);
            found.push(
                Diagnostic::warning("env-file-not-for-files", message)
                    .at(mention.span)
                    .related(said.key_span, "set here")
                    .help(format!("take {} out of `environment`, or put it into `.env`", mention.name)),
            );
        }
    }
    search.found.extend(found);
}

fn contains(outer: Span, inner: Span) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Two lines for one variable.
fn twice(search: &mut Search<'_>) {
    let loaded = search.loaded;
    for hidden in loaded.trace.hidden.iter().filter(|h| h.in_list) {
        let name = loaded.sources.text(hidden.by).trim_matches(['"', '\'']).split('=').next().unwrap_or_default().to_owned();
        let message = format!("{name} is set twice in this list; the later line counts");
        let finding = search.warn("duplicate-variable", Some(hidden.key), message, "take one of them out");
        finding.related.push((hidden.by, "this one counts".to_owned()));
    }
    for setting in loaded.trace.environments.iter().flat_map(|e| &e.settings) {
        for earlier in &setting.earlier {
            if loaded.sources.text(*earlier) == loaded.sources.text(setting.span) {
                continue;
            }
            let message = format!("{} is set twice in this file; the later line counts", setting.name);
            let finding = search.warn("duplicate-variable", Some(*earlier), message, "take one of them out");
            finding.related.push((setting.span, "this one counts".to_owned()));
        }
    }
}

/// One note for each env file with variables that nothing uses.
fn unused(search: &mut Search<'_>) {
    let loaded = search.loaded;
    let mut used: BTreeSet<&str> = loaded.trace.mentions.iter().map(|m| m.name.as_str()).collect();
    // By name alone: `environment: [KEY]`, secrets and configs.
    let root = loaded.provenance.root();
    let services = root.get("services").and_then(Node::as_map);
    for service in services.into_iter().flatten() {
        for list in [service.value.get("environment"), service.value.get("build").and_then(|b| b.get("args"))] {
            used.extend(list.and_then(Node::as_map).into_iter().flatten().flat_map(|e| e.value.variables.iter().map(String::as_str)));
        }
    }
    for section in ["secrets", "configs"] {
        let entries = root.get(section).and_then(Node::as_map).into_iter().flatten();
        used.extend(entries.filter_map(|e| e.value.get("environment").and_then(Node::as_str)));
    }
    // A file that a container gets whole is used whole.
    let handed: BTreeSet<&str> = loaded
        .trace
        .layers
        .iter()
        .filter(|l| matches!(l.origin, Origin::EnvFile(_)))
        .map(|l| loaded.sources.file(l.node.span.source).name.as_str())
        .collect();
    let near: BTreeSet<String> = search
        .found
        .iter()
        .filter(|d| d.code == "near-variable")
        .flat_map(|d| d.related.iter())
        .map(|(s, _)| loaded.sources.text(*s).to_owned())
        .collect();
    let mut files: BTreeMap<&str, Vec<(&str, Span)>> = BTreeMap::new();
    for setting in loaded.trace.environments.iter().flat_map(|e| &e.settings) {
        let file = loaded.sources.file(setting.span.source);
        let expanded = file.text.contains(&format!("${{{}", setting.name)) || file.text.contains(&format!("${}", setting.name));
        let ours = OURS.iter().any(|p| setting.name.starts_with(p));
        if !used.contains(setting.name.as_str()) && !expanded && !ours && !handed.contains(file.name.as_str()) && !near.contains(&setting.name) {
            files.entry(&file.name).or_default().push((&setting.name, setting.key_span));
        }
    }
    for (file, names) in files {
        let Some((_, first)) = names.first() else { continue };
        let mut all: Vec<&str> = names.iter().map(|(n, _)| *n).collect();
        all.dedup();
        let more = all.len().saturating_sub(10);
        let mut list = all.iter().take(10).copied().collect::<Vec<_>>().join(", ");
        if more > 0 {
            list.push_str(&format!(" and {more} more"));
        }
        let message = format!("{file} sets what no file uses: {list}");
        search.note(
            "unused-variable",
            Some(*first),
            message,
            "containers don't get them by themselves: name them under `environment`, or take them out",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::is_secret;

    #[test]
    fn names_of_secrets() {
        for name in ["PASSWORD", "DB_PASSWORD", "POSTGRES_PASSWORD", "pgpassword", "API_KEY", "JWT_SECRET", "auth-token", "MYSQL_PWD"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["BYPASS", "COMPASS_URL", "KEY", "KEYBOARD", "PASSENGERS", "SECRETARY", "TOKENS_PER_MINUTE", "PRIMARY_KEY_NAME"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}

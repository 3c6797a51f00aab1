//! Variables.

use super::{Known, Story, clipped, needs_quotes, place, table};
use crate::diag::Span;
use crate::load::interpolate::{Part, next_part};
use crate::load::trace::{From, Mention, Origin, Outcome, Trace};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Variables that files mention or env files set.
pub(super) fn names(trace: &Trace) -> Vec<String> {
    let mentioned = trace.mentions.iter().map(|m| m.name.clone());
    let set = trace.environments.iter().flat_map(|e| e.settings.iter().map(|s| s.name.clone()));
    let names: BTreeSet<String> = mentioned.chain(set).collect();
    names.into_iter().collect()
}

fn quoted(value: &str) -> String {
    if needs_quotes(value) { format!("{value:?}") } else { clipped(value) }
}

/// One thing that could have given the value.
struct Candidate {
    from: String,
    value: Option<String>,
    wins: bool,
    why: String,
    place: Option<Json>,
    kind: &'static str,
}

/// The story of the variable `name`; none if nobody knows it.
pub(super) fn explain(name: &str, known: Known<'_>) -> Option<Story> {
    let Known { trace, sources, .. } = known;
    let mentions: Vec<&Mention> = trace.mentions.iter().filter(|m| m.name == name).collect();
    let set = trace.environments.iter().any(|e| e.settings.iter().any(|s| s.name == name));
    if mentions.is_empty() && !set && !trace.shell.contains_key(name) && name != "COMPOSE_PROJECT_NAME" {
        return None;
    }
    let mut text = String::new();
    let mut scopes = Vec::new();
    for (number, environment) in trace.environments.iter().enumerate() {
        let own = environment.settings.iter().any(|s| s.name == name) || mentions.iter().any(|m| m.environment == number);
        if number > 0 && !own {
            continue;
        }
        let same = environment.outer.is_some_and(|outer| trace.winner(name, outer) == trace.winner(name, number));
        let defaults = mentions.iter().any(|m| m.environment == number && m.default.is_some());
        if same && !defaults && !environment.settings.iter().any(|s| s.name == name) {
            continue;
        }
        let candidates = candidates(name, number, known);
        let winner = candidates.iter().find(|c| c.wins);
        if let Some(of) = environment.of {
            let _ = write!(text, "\nin what {} includes, ", sources.place(of));
        }
        match candidates.iter().filter(|c| c.wins).collect::<Vec<_>>()[..] {
            [Candidate { from, value: Some(value), .. }] => {
                _ = writeln!(text, "{name} = {}\n  from {}", quoted(value), from.replace("default", "the default"))
            }
            [] => _ = writeln!(text, "{name} is not set"),
            _ => _ = writeln!(text, "{name} is not set, and its defaults differ"),
        }
        let rows: Vec<Vec<String>> = candidates
            .iter()
            .map(|c| {
                let mark = if c.wins { ">" } else { " " };
                vec![mark.to_owned(), c.from.clone(), c.value.as_deref().map_or_else(|| "-".to_owned(), quoted), c.why.clone()]
            })
            .collect();
        let _ = write!(text, "\nlooked for, the first that is there wins:\n{}", table(&rows));
        scopes.push(json!({
            "include": environment.of.map(|of| place(sources, of)),
            "value": winner.and_then(|w| w.value.clone()),
            "candidates": candidates.iter().map(|c| {
                let mut object = json!({ "kind": c.kind, "from": c.from, "value": c.value, "wins": c.wins, "why": c.why });
                if let Some(place) = &c.place {
                    object["place"] = place.clone();
                }
                object
            }).collect::<Json>(),
        }));
    }
    let rows: Vec<Vec<String>> =
        mentions.iter().map(|m| vec![sources.place(m.span), m.path.to_string(), clipped(&m.text), format!("→ {}", gives(&m.outcome))]).collect();
    let quoting = quoting(name, known);
    let files = quoting
        .iter()
        .map(|(span, other, value)| vec![sources.place(*span), other.clone(), sources.text(*span).to_owned(), format!("→ {}", quoted(value))]);
    let rows: Vec<Vec<String>> = rows.into_iter().chain(files).collect();
    match rows.as_slice() {
        [] => text.push_str("\nused nowhere\n"),
        rows => _ = write!(text, "\nused:\n{}", table(rows)),
    }
    let in_files = quoting
        .iter()
        .map(|(span, other, value)| json!({ "place": place(sources, *span), "variable": other, "expression": sources.text(*span), "value": value }));
    let uses: Json = mentions
        .iter()
        .map(|m| {
            let value = match &m.outcome {
                Outcome::Value(v) | Outcome::Default(v) | Outcome::Alternate(v) => Some(v.as_str()),
                Outcome::Nothing { .. } => Some(""),
                Outcome::Required | Outcome::Unread => None,
            };
            json!({
                "place": place(sources, m.span), "path": m.path.to_string(), "expression": m.text,
                "outcome": kind(&m.outcome), "value": value,
            })
        })
        .chain(in_files)
        .collect();
    Some(Story { text, json: json!({ "variable": name, "environments": scopes, "uses": uses }) })
}

/// Variables of env files in whose values `name` stands: the place of the expression, their name and value.
fn quoting(name: &str, known: Known<'_>) -> Vec<(Span, String, String)> {
    let Known { trace, sources, .. } = known;
    let settings = trace.environments.iter().flat_map(|e| &e.settings).map(|s| (s.span, s.name.as_str(), s.value.as_str()));
    let side = trace.layers.iter().filter(|l| matches!(l.origin, Origin::EnvFile(_) | Origin::LabelFile(_)));
    let side = side.flat_map(|l| l.node.as_map().into_iter().flatten()).filter_map(|e| Some((e.value.span, e.key.as_str(), e.value.as_str()?)));
    let mut found: Vec<(Span, String, String)> = Vec::new();
    for (span, other, value) in settings.chain(side) {
        let text = sources.text(span);
        // In single quotes, and where nothing is replaced, a dollar sign is one.
        if text.starts_with('\'') || text == value || !text.contains(name) {
            continue;
        }
        let mut at = 0;
        while at < text.len() {
            let (part, next) = next_part(text, at);
            at = next;
            if let Part::Expression { name: this, range, .. } = part
                && this == name
                && !found.iter().any(|(s, ..)| *s == span.part(range.start, range.end))
            {
                found.push((span.part(range.start, range.end), other.to_owned(), value.to_owned()));
            }
        }
    }
    found
}

fn kind(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Value(_) => "value",
        Outcome::Default(_) => "default",
        Outcome::Alternate(_) => "alternate",
        Outcome::Nothing { meant: true } => "no-alternate",
        Outcome::Nothing { meant: false } => "unset",
        Outcome::Required => "required",
        Outcome::Unread => "not-needed",
    }
}

fn gives(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Value(value) => quoted(value),
        Outcome::Default(value) => format!("{} (default)", quoted(value)),
        Outcome::Alternate(value) => format!("{} (alternate)", quoted(value)),
        Outcome::Nothing { meant: true } => "nothing: it is not set".to_owned(),
        Outcome::Nothing { meant: false } => "nothing: it is not set and has no default".to_owned(),
        Outcome::Required => "error: it is required".to_owned(),
        Outcome::Unread => "not needed there".to_owned(),
    }
}

/// Candidates in order of precedence.
#[derive(Default)]
struct List {
    found: Vec<Candidate>,
    /// What the winner is called.
    taken: Option<String>,
}

impl List {
    fn add(&mut self, kind: &'static str, from: String, value: Option<String>, wins: bool, place: Option<Json>) {
        let why = match (&value, wins, &self.taken) {
            (None, ..) => "not set".to_owned(),
            (_, true, _) => "wins".to_owned(),
            (_, false, Some(taken)) => format!("{taken} goes before it"),
            (_, false, None) => "not used".to_owned(),
        };
        if wins {
            self.taken = Some(from.clone());
        }
        self.found.push(Candidate { from, value, wins, why, place, kind });
    }
}

/// Everything that could give the value, in order of precedence.
fn candidates(name: &str, number: usize, known: Known<'_>) -> Vec<Candidate> {
    let Known { trace, sources, .. } = known;
    let winner = trace.winner(name, number);
    let mut list = List::default();
    if name == "COMPOSE_PROJECT_NAME" {
        list.add("project-name", "the name of the project".to_owned(), trace.project_name.clone(), winner == Some(From::ProjectName), None);
    }
    list.add("shell", "the shell".to_owned(), trace.shell.get(name).cloned(), matches!(winner, Some(From::Shell(_))), None);
    // From the outermost environment inwards.
    let mut chain = vec![number];
    while let Some(outer) = chain.last().and_then(|n| trace.environments.get(*n)).and_then(|e| e.outer).filter(|o| !chain.contains(o)) {
        chain.push(outer);
    }
    let settings = || chain.iter().rev().filter_map(|n| trace.environments.get(*n)).flat_map(|e| &e.settings);
    for setting in settings().filter(|s| s.name == name) {
        let wins = winner == Some(From::File(setting));
        list.add("env-file", sources.place(setting.span), Some(setting.value.clone()), wins, Some(place(sources, setting.span)));
        for earlier in setting.earlier.iter().rev() {
            let value = sources.text(*earlier).trim_matches(['"', '\'']).to_owned();
            list.add("env-file", sources.place(*earlier), Some(value), false, Some(place(sources, *earlier)));
            if let Some(last) = list.found.last_mut() {
                last.why = "a later line of the same file goes before it".to_owned();
            }
        }
    }
    if !settings().any(|s| s.name == name) {
        let files: BTreeSet<&str> = settings().map(|s| sources.file(s.span.source).name.as_str()).collect();
        let files: Vec<&str> = files.into_iter().collect();
        list.add("env-file", if files.is_empty() { "env files".to_owned() } else { files.join(", ") }, None, false, None);
    }
    if winner == Some(From::Directory) {
        list.add("directory", "the working directory".to_owned(), trace.directory.clone(), true, None);
    }
    let mut defaults: BTreeMap<&str, &Mention> = BTreeMap::new();
    for mention in trace.mentions.iter().filter(|m| m.name == name && m.environment == number) {
        if let Some(default) = &mention.default {
            let first = defaults.entry(default.as_str()).or_insert(mention);
            // One that is used says more than one that isn't.
            if !matches!(first.outcome, Outcome::Default(_)) && matches!(mention.outcome, Outcome::Default(_)) {
                *first = mention;
            }
        }
    }
    let mut defaults: Vec<&Mention> = defaults.into_values().collect();
    defaults.sort_by_key(|m| m.span);
    for mention in defaults {
        let why = match (&mention.outcome, winner) {
            (Outcome::Default(_), Some(_)) => "used there, for the value is empty".to_owned(),
            (Outcome::Default(_), None) => "used there".to_owned(),
            (Outcome::Unread, _) => "stands inside a default that isn't needed".to_owned(),
            _ => format!("not needed, {name} is set"),
        };
        list.found.push(Candidate {
            from: format!("default at {}", sources.place(mention.span)),
            value: mention.default.clone(),
            wins: winner.is_none() && matches!(mention.outcome, Outcome::Default(_)),
            why,
            place: Some(place(sources, mention.span)),
            kind: "default",
        });
    }
    list.found
}

//! A plan as text for humans: one line a step, with its reason and what it waits for.

use super::types::{Await, Gate, Node, Plan, Step};
use crate::world::{Op, SubjectKind};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

/// The plan as text: what `--dry-run` shows. Ends with a line that sums it up.
pub fn print(plan: &Plan) -> String {
    plan.to_string()
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<(String, &Node)> = self.nodes.iter().map(|node| (line(node), node)).collect();
        let number = self.nodes.len().checked_ilog10().unwrap_or(0) as usize + 1;
        let width = lines.iter().map(|(text, _)| text.chars().count()).max().unwrap_or(0).min(60);
        for (text, node) in lines {
            write!(f, "{:>number$}  {text:width$}  {}", node.id + 1, node.why)?;
            if !node.after.is_empty() {
                let after: Vec<String> = node.after.iter().map(|id| (id + 1).to_string()).collect();
                write!(f, "  [after {}]", after.join(", "))?;
            }
            f.write_char('\n')?;
        }
        for hazard in &self.hazards {
            writeln!(f, "?  {} Without a yes {}.", hazard.question, hazard.otherwise)?;
        }
        writeln!(f, "{}", self.summary())
    }
}

fn line(node: &Node) -> String {
    match &node.step {
        Step::Do(op) => describe(op),
        Step::Await(gate) => describe_gate(gate),
    }
}

fn describe(op: &Op) -> String {
    let name = op.subject().name;
    match op {
        Op::RenameContainer { to, .. } => format!("rename {name} to {to}"),
        Op::ConnectNetwork { endpoint, .. } => format!("connect {name} to {}", endpoint.network),
        Op::DisconnectNetwork { network, .. } => format!("disconnect {name} from {network}"),
        Op::WriteFiles { files, .. } => {
            let paths: Vec<&str> = files.iter().map(|f| f.path.as_str()).collect();
            format!("write {} into {name}", paths.join(", "))
        }
        Op::KillContainer { signal, .. } => format!("kill {name} ({signal})"),
        Op::RemoveContainer { volumes: true, .. } => format!("remove container {name} with its anonymous volumes"),
        Op::RunHook { hook, .. } => format!("run `{}` in {name}", hook.command.join(" ")),
        _ => format!("{} {name}", op.verb()),
    }
}

fn describe_gate(gate: &Await) -> String {
    let names: Vec<&str> = gate.containers.iter().map(|c| c.target.name.as_str()).collect();
    let state = match gate.gate {
        Gate::Started => "started",
        Gate::Healthy => "healthy",
        Gate::Completed => "done (exit 0)",
        Gate::Ready { one_shot: false } => "ready",
        Gate::Ready { one_shot: true } => "ready or done (exit 0)",
    };
    let (verb, optional) = (if names.len() == 1 { "is" } else { "are" }, if gate.optional { " (optional)" } else { "" });
    format!("wait until {} {verb} {state}{optional}", names.join(", "))
}

impl Plan {
    /// One line that sums the plan up: `1 network to create; 3 containers to create, 1 to recreate, 2 unchanged`.
    pub fn summary(&self) -> String {
        let mut verbs: BTreeMap<(SubjectKind, String), BTreeSet<&str>> = BTreeMap::new();
        for (op, node) in self.nodes.iter().filter_map(|n| if let Step::Do(op) = &n.step { Some((op, n)) } else { None }) {
            let subject = op.subject();
            // A container under its temporary name is counted under the one that it gets.
            let name = node.shows.as_ref().and_then(|s| s.name.clone()).unwrap_or(subject.name);
            verbs.entry((subject.kind, name)).or_default().insert(op.verb());
        }
        let mut counts: BTreeMap<(SubjectKind, Fate), usize> = BTreeMap::new();
        for ((kind, _), verbs) in verbs {
            if let Some(fate) = fate(&verbs) {
                *counts.entry((kind, fate)).or_default() += 1;
            }
        }
        if !self.unchanged.is_empty() {
            counts.insert((SubjectKind::Container, Fate::Unchanged), self.unchanged.len());
        }
        let (mut text, mut last) = (String::new(), None);
        for ((kind, fate), n) in counts {
            if last == Some(kind) {
                text += &format!(", {n} {}", fate.words());
            } else {
                let separator = if last.is_some() { "; " } else { "" };
                text += &format!("{separator}{n} {}{} {}", word(kind), if n == 1 { "" } else { "s" }, fate.words());
            }
            last = Some(kind);
        }
        if text.is_empty() { "nothing to do".into() } else { text }
    }
}

/// What becomes of a thing in the end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Pull,
    Create,
    Recreate,
    Restart,
    Start,
    Resume,
    Kill,
    Stop,
    Remove,
    Unchanged,
}

impl Fate {
    fn words(self) -> &'static str {
        match self {
            Self::Pull => "to pull",
            Self::Create => "to create",
            Self::Recreate => "to recreate",
            Self::Restart => "to restart",
            Self::Start => "to start",
            Self::Resume => "to resume",
            Self::Kill => "to kill",
            Self::Stop => "to stop",
            Self::Remove => "to remove",
            Self::Unchanged => "unchanged",
        }
    }
}

/// What the steps of one thing come to.
fn fate(verbs: &BTreeSet<&str>) -> Option<Fate> {
    let starting = |with: &str| verbs.iter().any(|v| v.starts_with(with));
    Some(match (starting("create"), starting("remove")) {
        (true, true) => Fate::Recreate,
        (true, false) => Fate::Create,
        (false, true) => Fate::Remove,
        (false, false) if verbs.contains("pull image") => Fate::Pull,
        (false, false) if verbs.contains("restart") || verbs.contains("stop") && verbs.contains("start") => Fate::Restart,
        (false, false) if verbs.contains("start") => Fate::Start,
        (false, false) if verbs.contains("unpause") => Fate::Resume,
        (false, false) if verbs.contains("kill") => Fate::Kill,
        (false, false) if verbs.contains("stop") => Fate::Stop,
        (false, false) => return None,
    })
}

fn word(kind: SubjectKind) -> &'static str {
    match kind {
        SubjectKind::Network => "network",
        SubjectKind::Volume => "volume",
        SubjectKind::Image => "image",
        SubjectKind::Container => "container",
    }
}

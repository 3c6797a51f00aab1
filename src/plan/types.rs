//! What a plan is made of.

use crate::diag::Diagnostic;
use crate::world::{Op, Target};

/// Index of a node in [`Plan::nodes`].
pub type NodeId = usize;

/// What is to be done, in which order, and why. Nodes stand in an order in which each comes after all it waits for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The project.
    pub project: String,
    /// The steps. `nodes[i].id == i`.
    pub nodes: Vec<Node>,
    /// Risky things that were left out of the plan, or that need a yes before it is carried out.
    pub hazards: Vec<Hazard>,
    /// What the user should know before anything happens.
    pub notes: Vec<Diagnostic>,
    /// Containers that are already as they should be.
    pub unchanged: Vec<Target>,
    /// It only fetches images, and what comes next depends on what they turn out to be: carry it out, observe again and
    /// plan again with [`UpOptions::pulled`](super::UpOptions::pulled).
    pub again: bool,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its index.
    pub id: NodeId,
    /// What is done or waited for.
    pub step: Step,
    /// Steps that must have settled before; all have smaller ids.
    pub after: Vec<NodeId>,
    /// Why, in words: `no container yet`, `environment changed`, `web waits for it`.
    pub why: String,
    /// Service it belongs to, if any.
    pub service: Option<String>,
    /// What progress lines say.
    pub shows: Option<Shows>,
    /// What becomes of it when something it waits for failed.
    pub upstream: Upstream,
    /// Its own failure is only a warning, and what waits for it goes on: a hook before a stop, a network that others still
    /// use.
    pub lenient: bool,
}

/// What progress lines say while a step runs and when it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shows {
    /// Name of the thing as it is shown, when it differs from the op's own (a container under its temporary name).
    pub name: Option<String>,
    /// `Creating`; empty shows nothing at the start.
    pub doing: &'static str,
    /// `Created`; empty shows nothing at the end.
    pub done: &'static str,
}

/// What is done or waited for.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A change.
    Do(Op),
    /// A gate.
    Await(Await),
}

/// What becomes of a step when something it waits for failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upstream {
    /// It is skipped, and so is what waits for it.
    #[default]
    Skip,
    /// It is done all the same: tearing down, and the order of stopping.
    Proceed,
}

/// A gate: `waiter` waits until the containers are in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Await {
    /// The service that is waited for.
    pub service: String,
    /// Its containers, by name.
    pub containers: Vec<Awaited>,
    /// What must be true of them.
    pub gate: Gate,
    /// The service that waits; `None` for `--wait`.
    pub waiter: Option<String>,
    /// `required: false`: when the gate can't be passed, that is a warning and what waits goes on.
    pub optional: bool,
}

/// A container at a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// The container under its final name.
    pub target: Target,
    /// The plan starts it: what it did before that doesn't count.
    pub fresh: bool,
}

/// What must be true of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// It has been started.
    Started,
    /// Its health check says healthy.
    Healthy,
    /// It exited with code 0.
    Completed,
    /// For `--wait`: healthy if it has a health check, else running; a one-shot service may also have exited with 0.
    Ready {
        /// A one-shot service: `restart: no`, or another service waits for its completion.
        one_shot: bool,
    },
}

/// A risky thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hazard {
    /// Kind and thing, by which the answer is given.
    pub kind: HazardKind,
    /// The question, to be answered with yes or no.
    pub question: String,
    /// What happens without a yes.
    pub otherwise: String,
}

/// Kinds of risky things.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HazardKind {
    /// The volume exists with another configuration; recreating it loses what is stored in it.
    RecreateVolume(String),
}

impl Plan {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds a step and returns its id.
    ///
    /// # Panics
    /// If it waits for a step that isn't there yet.
    pub fn push(&mut self, step: Step, after: Vec<NodeId>, why: impl Into<String>) -> NodeId {
        let id = self.nodes.len();
        assert!(after.iter().all(|a| *a < id), "a step can only wait for earlier ones");
        self.nodes.push(Node { id, step, after, why: why.into(), service: None, shows: None, upstream: Upstream::Skip, lenient: false });
        id
    }
}

impl Step {
    /// The verb, for plans and records: `create container`, `wait`.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Do(op) => op.verb(),
            Self::Await(_) => "wait",
        }
    }
}

//! The shell of simulated containers, and what its commands see: a small part of POSIX sh and of busybox.

mod parse;
mod programs;

use super::Sim;
use super::container::Signal;
use super::files::{File, absolute};
use super::script::ProgramScript;
use crate::world::Stream;
use bytes::Bytes;
use futures::future::BoxFuture;
use parse::{Node, Part, Redirect, RedirectKind, When, Word};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::sleep;

pub(super) use programs::knows;

/// Exit code for a program that isn't there.
const NOT_FOUND: i64 = 127;

/// Where output goes.
#[derive(Clone)]
pub(super) enum Output {
    /// Into the container's log.
    Log,
    /// To a reader, who may be slow.
    Channel(mpsc::Sender<(Stream, Bytes)>),
    /// Into memory.
    Memory(Captured),
    /// Into a file of the container.
    File(String),
}

/// Output kept in memory.
#[derive(Clone, Default)]
pub(super) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

impl Output {
    /// Output into memory, and that memory.
    pub(super) fn captured() -> (Self, Captured) {
        let memory = Captured::default();
        (Self::Memory(memory.clone()), memory)
    }
}

/// Where input comes from.
#[derive(Clone)]
pub(super) enum Input {
    Empty,
    Memory(Arc<Mutex<VecDeque<u8>>>),
    Reader(Arc<tokio::sync::Mutex<Box<dyn AsyncRead + Send + Unpin>>>),
}

/// What `trap` has set, and the signals that came for it.
#[derive(Default)]
pub(super) struct Traps {
    set: Mutex<BTreeMap<Signal, String>>,
    raised: Mutex<VecDeque<Signal>>,
    news: Notify,
}

impl Traps {
    pub(super) fn has(&self, signal: Signal) -> bool {
        self.set.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&signal)
    }

    pub(super) fn raise(&self, signal: Signal) {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner).push_back(signal);
        self.news.notify_one();
    }

    fn next(&self) -> Option<String> {
        let signal = self.raised.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
        self.set.lock().unwrap_or_else(PoisonError::into_inner).get(&signal).cloned()
    }
}

/// A running shell.
#[derive(Clone)]
pub(super) struct Shell {
    sim: Sim,
    container: String,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) cwd: String,
    pub(super) user: String,
    pub(super) input: Input,
    /// Standard output and error: where to, and under which name.
    outputs: [(Output, Stream); 2],
    pub(super) terminal: Option<watch::Receiver<(u16, u16)>>,
    pub(super) traps: Arc<Traps>,
    scripted: BTreeMap<String, ProgramScript>,
    variables: BTreeMap<String, String>,
    status: i64,
    /// Set by `exit`; ends all that is left.
    ended: Option<i64>,
}

impl Shell {
    /// A shell inside a container, whose output goes to `output`.
    pub(super) fn in_container(sim: &Sim, id: &str, output: Output) -> Self {
        let mut state = sim.lock();
        let container = state.get(id).ok();
        Self {
            sim: sim.clone(),
            container: id.to_owned(),
            environment: container.as_ref().map(|c| c.environment()).unwrap_or_default(),
            cwd: container.as_ref().map_or("/", |c| c.working_dir()).to_owned(),
            user: container.as_ref().map_or("", |c| c.user()).to_owned(),
            input: Input::Empty,
            outputs: [(output.clone(), Stream::Stdout), (output, Stream::Stderr)],
            terminal: None,
            traps: Arc::default(),
            scripted: container.map(|c| c.script.programs.clone()).unwrap_or_default(),
            variables: BTreeMap::new(),
            status: 0,
            ended: None,
        }
    }

    /// Whether it can run this command at all.
    pub(super) fn finds(&self, argv: &[String]) -> bool {
        knows(argv) || argv.first().is_some_and(|program| self.scripted.contains_key(program))
    }

    /// Says that a program isn't there, as a runtime does.
    pub(super) async fn not_there(&self, program: &str) -> i64 {
        let folder = self.sim.lock().list(&self.container, &self.path(program)).is_some();
        let why = if folder { "permission denied" } else { "executable file not found in $PATH" };
        self.print(0, format!("exec failed: {program:?}: {why}\n").into()).await;
        if folder { 126 } else { NOT_FOUND }
    }

    /// Runs a command; its exit code.
    pub(super) async fn run(&mut self, argv: &[String]) -> i64 {
        self.run_or(argv, NOT_FOUND).await
    }

    /// Runs a command; its exit code, or `unknown` if there is no such program.
    pub(super) async fn run_or(&mut self, argv: &[String], unknown: i64) -> i64 {
        if !self.finds(argv) && unknown != NOT_FOUND {
            return unknown;
        }
        let code = self.command(argv.to_vec()).await;
        self.ended.take().unwrap_or(code)
    }

    /// Runs a script; its exit code.
    async fn script(&mut self, text: &str) -> i64 {
        match parse::parse(text) {
            Ok(node) => self.node(&node).await,
            Err(error) => {
                self.print(1, format!("sh: {error}\n").into()).await;
                2
            }
        }
    }

    async fn print(&self, fd: usize, bytes: Bytes) {
        let Some((output, stream)) = self.outputs.get(fd) else { return };
        match output {
            Output::Log => {
                self.sim.thawed(&self.container).await;
                let now = self.sim.now();
                self.sim.lock().print(&self.container, *stream, &bytes, now);
            }
            Output::Channel(sender) => {
                let (stream, bytes) = match self.terminal {
                    // A terminal has one stream, and ends lines as terminals do.
                    Some(_) => (Stream::Stdout, Bytes::from(crlf(&bytes))),
                    None => (*stream, bytes),
                };
                // An error means that the reader has gone; so does what he doesn't read.
                let _ = sender.send((stream, bytes)).await;
            }
            Output::Memory(memory) => memory.bytes().extend_from_slice(&bytes),
            Output::File(path) if path == "/dev/null" => {}
            Output::File(path) => {
                let _ = self.sim.lock().append(&self.container, path, &bytes);
            }
        }
    }

    /// Reads all that comes.
    async fn read_all(&self) -> Vec<u8> {
        match &self.input {
            Input::Empty => Vec::new(),
            Input::Memory(memory) => memory.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect(),
            Input::Reader(reader) => {
                let mut all = Vec::new();
                // What could be read before an error is what there is.
                let _ = reader.lock().await.read_to_end(&mut all).await;
                all
            }
        }
    }

    /// Reads some of what comes; empty at the end.
    async fn read_some(&self) -> Vec<u8> {
        match &self.input {
            Input::Reader(reader) => {
                let mut some = vec![0; 32 * 1024];
                let length = reader.lock().await.read(&mut some).await.unwrap_or(0);
                some.truncate(length);
                some
            }
            _ => self.read_all().await,
        }
    }

    fn path(&self, path: &str) -> String {
        absolute(&self.cwd, path)
    }

    fn file(&self, path: &str) -> Option<File> {
        self.sim.lock().read(&self.container, &self.path(path))
    }

    fn node<'a>(&'a mut self, node: &'a Node) -> BoxFuture<'a, i64> {
        Box::pin(async move {
            if let Some(code) = self.ended {
                return code;
            }
            self.run_traps().await;
            let code = match node {
                Node::Simple(assignments, words, redirects) => self.simple(assignments, words, redirects).await,
                Node::List(all) => {
                    let mut code = 0;
                    for (when, node) in all {
                        let runs = match when {
                            When::Always => true,
                            When::Good => code == 0,
                            When::Bad => code != 0,
                        };
                        if runs && self.ended.is_none() {
                            code = self.node(node).await;
                        }
                    }
                    code
                }
                Node::Pipe(nodes) => self.pipe(nodes).await,
                Node::If(branches, otherwise) => {
                    for (condition, body) in branches {
                        if self.node(condition).await == 0 {
                            return self.node(body).await;
                        }
                    }
                    match otherwise {
                        Some(body) => self.node(body).await,
                        None => 0,
                    }
                }
                Node::While(condition, body, until) => {
                    let mut code = 0;
                    while self.ended.is_none() && (self.node(condition).await == 0) != *until && self.ended.is_none() {
                        code = self.node(body).await;
                        // A loop without a wait must let others move.
                        tokio::task::yield_now().await;
                    }
                    code
                }
                Node::For(name, words, body) => {
                    let mut code = 0;
                    for value in self.expand_all(words).await {
                        if self.ended.is_none() {
                            self.variables.insert(name.clone(), value);
                            code = self.node(body).await;
                        }
                    }
                    code
                }
                Node::Group(inner, apart, redirects) => {
                    let (outputs, input) = (self.outputs.clone(), self.input.clone());
                    let code = match self.redirect(redirects).await {
                        Err(code) => code,
                        Ok(()) if *apart => {
                            let mut inside = self.clone();
                            let code = inside.node(inner).await;
                            inside.ended.unwrap_or(code)
                        }
                        Ok(()) => self.node(inner).await,
                    };
                    (self.outputs, self.input) = (outputs, input);
                    code
                }
                Node::Not(inner) => i64::from(self.node(inner).await == 0),
                Node::Background(inner) => {
                    let (mut inside, inner) = (self.clone(), inner.clone());
                    inside.input = Input::Empty;
                    // It ends with the container, whose output it can't reach any more.
                    let ended = self.sim.lock().get(&self.container).ok().and_then(|c| c.process.as_ref().map(|p| p.ended.clone()));
                    tokio::spawn(async move {
                        let work = inside.node(&inner);
                        match ended {
                            Some(mut ended) => {
                                tokio::select! {
                                    _ = work => {}
                                    _ = ended.wait_for(|e| *e) => {}
                                }
                            }
                            None => drop(work.await),
                        }
                    });
                    0
                }
            };
            self.status = code;
            self.run_traps().await;
            self.ended.unwrap_or(code)
        })
    }

    fn run_traps(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            while let Some(text) = self.traps.next() {
                if self.ended.is_none() && !text.is_empty() {
                    self.script(&text).await;
                }
            }
        })
    }

    /// Each command reads what the one before has printed.
    async fn pipe(&mut self, nodes: &[Node]) -> i64 {
        let mut code = 0;
        let mut input = self.input.clone();
        for (i, node) in nodes.iter().enumerate() {
            let mut inside = self.clone();
            inside.input = input.clone();
            let (output, memory) = Output::captured();
            if i + 1 < nodes.len() {
                inside.outputs[0] = (output, Stream::Stdout);
            }
            let last = inside.node(node).await;
            code = inside.ended.unwrap_or(last);
            let bytes: VecDeque<u8> = memory.bytes().drain(..).collect();
            input = Input::Memory(Arc::new(Mutex::new(bytes)));
        }
        code
    }

    async fn simple(&mut self, assignments: &[(String, Word)], words: &[Word], redirects: &[Redirect]) -> i64 {
        let argv = self.expand_all(words).await;
        let mut set = Vec::new();
        for (name, word) in assignments {
            set.push((name.clone(), self.expand(word).await.join(" ")));
        }
        let (outputs, input, environment) = (self.outputs.clone(), self.input.clone(), self.environment.clone());
        let code = match self.redirect(redirects).await {
            Err(code) => code,
            Ok(()) if argv.is_empty() => {
                for (name, value) in set {
                    self.assign(name, value);
                }
                0
            }
            Ok(()) => {
                let lasting = matches!(argv[0].as_str(), "export" | "unset");
                self.environment.extend(set);
                let code = self.command(argv).await;
                if !lasting {
                    self.environment = environment;
                }
                code
            }
        };
        (self.outputs, self.input) = (outputs, input);
        code
    }

    fn assign(&mut self, name: String, value: String) {
        if let Some(exported) = self.environment.get_mut(&name) {
            *exported = value;
        } else {
            self.variables.insert(name, value);
        }
    }

    /// Points the streams elsewhere; an exit code where that can't be done.
    async fn redirect(&mut self, redirects: &[Redirect]) -> Result<(), i64> {
        for redirect in redirects {
            let to = self.expand(&redirect.to).await.join(" ");
            let fd = usize::from(redirect.fd.saturating_sub(1)).min(1);
            match redirect.kind {
                RedirectKind::Copy => {
                    let from = usize::from(to == "2");
                    self.outputs[fd] = self.outputs[from].clone();
                }
                RedirectKind::Read => match self.file(&to) {
                    Some(file) => self.input = Input::Memory(Arc::new(Mutex::new(file.content.into()))),
                    None if to == "/dev/null" => self.input = Input::Empty,
                    None => {
                        self.print(1, format!("sh: can't open {to}: no such file\n").into()).await;
                        return Err(1);
                    }
                },
                RedirectKind::Write | RedirectKind::Append => {
                    let path = self.path(&to);
                    // Process 1's own streams.
                    let standard = match path.as_str() {
                        "/dev/stdout" | "/proc/1/fd/1" => Some(Stream::Stdout),
                        "/dev/stderr" | "/proc/1/fd/2" => Some(Stream::Stderr),
                        _ => None,
                    };
                    if let Some(stream) = standard {
                        let output =
                            if path.starts_with("/proc") { Output::Log } else { self.outputs[usize::from(stream == Stream::Stderr)].0.clone() };
                        self.outputs[fd] = (output, stream);
                        continue;
                    }
                    if path != "/dev/null" {
                        let fresh = redirect.kind == RedirectKind::Write;
                        let opened = self.sim.lock().open(&self.container, &path, fresh, &self.user);
                        if let Err(why) = opened {
                            self.print(1, format!("sh: can't create {to}: {why}\n").into()).await;
                            return Err(1);
                        }
                    }
                    self.outputs[fd] = (Output::File(path), Stream::Stdout);
                }
            }
        }
        Ok(())
    }

    async fn expand_all(&mut self, words: &[Word]) -> Vec<String> {
        let mut all = Vec::new();
        for word in words {
            all.extend(self.expand(word).await);
        }
        all
    }

    /// Expands a word to its fields.
    fn expand<'a>(&'a mut self, word: &'a Word) -> BoxFuture<'a, Vec<String>> {
        Box::pin(async move {
            let mut fields: Vec<String> = Vec::new();
            // Whether the last field can still grow.
            let mut open = false;
            for part in &word.0 {
                let (text, whole) = match part {
                    Part::Text(text, _) => (text.clone(), true),
                    Part::Variable(name, rest, quoted) => (self.variable(name, rest).await, *quoted),
                    Part::Command(script, quoted) => (self.substitute(script).await, *quoted),
                    Part::Sum(text) => (self.sum(text).to_string(), true),
                };
                if whole {
                    match fields.last_mut().filter(|_| open) {
                        Some(last) => last.push_str(&text),
                        None => fields.push(text),
                    }
                    open = true;
                } else {
                    open &= !text.starts_with(char::is_whitespace);
                    for (i, piece) in text.split_whitespace().enumerate() {
                        match fields.last_mut().filter(|_| open && i == 0) {
                            Some(last) => last.push_str(piece),
                            None => fields.push(piece.to_owned()),
                        }
                        open = true;
                    }
                    open &= !text.ends_with(char::is_whitespace);
                }
            }
            fields
        })
    }

    fn lookup(&self, name: &str) -> Option<String> {
        match name {
            "?" => Some(self.status.to_string()),
            "$" => Some("1".into()),
            "#" => Some("0".into()),
            "0" => Some("sh".into()),
            _ => self.variables.get(name).or_else(|| self.environment.get(name)).cloned(),
        }
    }

    async fn variable(&mut self, name: &str, rest: &str) -> String {
        let value = self.lookup(name);
        let set = value.clone().filter(|v| !rest.starts_with(':') || !v.is_empty());
        let operator = rest.strip_prefix(':').unwrap_or(rest);
        let word = |rest: &str| parse::parse(&format!("x=\"{rest}\"")).ok();
        let alternative = match (operator.chars().next(), set.is_some()) {
            (Some('-'), false) | (Some('+'), true) => operator.get(1..).unwrap_or_default(),
            (Some('+'), false) => "",
            _ => return value.unwrap_or_default(),
        };
        match word(alternative) {
            Some(Node::List(all)) => match all.into_iter().next() {
                Some((_, Node::Simple(mut assignments, ..))) if !assignments.is_empty() => {
                    let (_, word) = assignments.remove(0);
                    self.expand(&word).await.join(" ")
                }
                _ => String::new(),
            },
            _ => String::new(),
        }
    }

    async fn substitute(&mut self, script: &str) -> String {
        let (output, memory) = Output::captured();
        let mut inside = self.clone();
        inside.outputs[0] = (output, Stream::Stdout);
        let code = inside.script(script).await;
        self.status = inside.ended.unwrap_or(code);
        memory.text().trim_end_matches('\n').to_owned()
    }

    /// Sums and differences, products: all that `$((…))` is used for here.
    fn sum(&self, text: &str) -> i64 {
        let value = |t: &str| -> i64 {
            let t = t.trim().trim_start_matches('$');
            t.parse().ok().or_else(|| self.lookup(t).and_then(|v| v.trim().parse().ok())).unwrap_or(0)
        };
        let product = |t: &str| t.split('*').map(value).fold(1_i64, i64::wrapping_mul);
        let mut total = 0_i64;
        for plus in text.split('+') {
            let mut terms = plus.split('-');
            total = total.wrapping_add(terms.next().map_or(0, product));
            total = terms.fold(total, |sum, t| sum.wrapping_sub(product(t)));
        }
        total
    }

    /// Waits for a signal with a trap, or for nothing at all.
    async fn wait_for_trap(&mut self) {
        self.traps.news.notified().await;
        self.run_traps().await;
    }

    /// Runs a program that a script describes.
    async fn scripted(&self, program: &ProgramScript) -> i64 {
        sleep(program.takes).await;
        for (fd, text) in [(0, &program.stdout), (1, &program.stderr)] {
            if !text.is_empty() {
                let end = if text.ends_with('\n') { "" } else { "\n" };
                self.print(fd, format!("{text}{end}").into()).await;
            }
        }
        program.exit
    }
}

fn crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 8);
    for byte in bytes {
        if *byte == b'\n' {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

//! What every command works with, and what most of them do first.

use super::args::{Args, Globals};
use super::fault::Fault;
use super::prompt::Prompt;
use super::settings::{Settings, Terminals};
use super::{Session, Signal, hints};
use crate::diag::{KeyPath, Span};
use crate::engine::{Engine, registry};
use crate::exit::Exit;
use crate::fetch;
use crate::load::{self, Failed, Loaded, Request};
use crate::run::{self, Context, Interrupter, Interrupts};
use crate::ui::{Console, LogStyle, Output, ProgressMode, Shown, Size};
use crate::units::Timestamp;
use crate::world::{Event, ObserveQuery};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

/// Waits until there is a runtime. Commands that hardly ever need one are begun without.
pub(super) async fn runtime() {
    poll_fn(|_| if Handle::try_current().is_ok() { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// A running command.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) console: Console,
    pub(crate) globals: Globals,
    pub(crate) settings: Settings,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) cwd: PathBuf,
    pub(crate) prompt: Prompt,
    pub(crate) terminals: Terminals,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    pub(crate) size: watch::Receiver<Size>,
    pub(crate) now: Timestamp,
    pub(crate) interrupts: Interrupts,
    interrupter: Interrupter,
    engine: Option<Arc<dyn Engine>>,
    /// Why the engine is this one, where that is news.
    news: Option<String>,
}

/// The project a command is about: loaded, or known only by name.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) loaded: Option<Loaded>,
}

impl App {
    /// Takes a session apart. Signals are to be passed on to the interrupter.
    pub(crate) fn new(session: Session, args: &Args) -> Result<(Self, mpsc::Receiver<Signal>), (Output, Fault)> {
        let terminals = Terminals { stdin: session.stdin.terminal, stdout: session.stdout.is_terminal(), stderr: session.stderr.is_terminal() };
        let settings = Settings::resolve(&args.globals, &session.environment, terminals).map_err(|fault| (session.stderr.clone(), fault))?;
        let mut console = Console::new(session.stdout.clone(), session.stderr.clone(), session.size.clone(), settings.look);
        let facts = hints::Facts::new(&session.environment, &args.globals);
        console.set_advice(move |finding| hints::advice(finding, &facts));
        let (interrupter, interrupts) = run::interrupts();
        let prompt = Prompt::new(console.asker(), session.stdin);
        let app = Self {
            console,
            globals: args.globals.clone(),
            settings,
            environment: session.environment,
            cwd: session.cwd,
            prompt,
            terminals,
            stdout: session.stdout,
            stderr: session.stderr,
            size: session.size,
            now: (session.clock)(),
            interrupts,
            interrupter,
            engine: session.engine,
            news: None,
        };
        Ok((app, session.signals))
    }

    /// What to load.
    pub(crate) async fn request(&mut self, services: &[String]) -> Request {
        let mut request = Request {
            files: self.globals.files.clone(),
            project_directory: self.globals.project_directory.as_ref().map(PathBuf::from),
            project_name: self.globals.project_name.clone(),
            profiles: self.globals.profiles.clone(),
            env_files: self.globals.env_files.clone(),
            environment: self.environment.clone(),
            cwd: self.cwd.clone(),
            stdin: None,
            services: services.to_vec(),
            compatibility: self.settings.compatibility,
            all_resources: self.globals.all_resources,
            ..Request::default()
        };
        if reads_stdin(&self.globals, &self.environment) {
            let mut text = Vec::new();
            if let Some(stdin) = self.prompt.take_input() {
                let mut stdin = stdin;
                // What can't be read counts as its end.
                let _ = stdin.read_to_end(&mut text).await;
            }
            request.stdin = Some(String::from_utf8_lossy(&text).into_owned());
        }
        request
    }

    /// Loads the project and shows what was found. Variables of its `.env` that are ours are taken into account.
    pub(crate) async fn load(&mut self, services: &[String]) -> Result<Loaded, Fault> {
        let request = self.request(services).await;
        self.load_request(&request).await
    }

    /// As [`load`](Self::load), for a request that was changed.
    pub(crate) async fn load_request(&mut self, request: &Request) -> Result<Loaded, Fault> {
        match self.load_fetching(request).await? {
            Ok(loaded) => {
                self.loaded(&loaded).await?;
                Ok(loaded)
            }
            Err(failed) => {
                self.console.set_sources(Arc::new(failed.sources));
                Err(failed.diagnostics.into())
            }
        }
    }

    /// Loads; fetches what is elsewhere and loads again, until nothing is wanted any more.
    pub(crate) async fn load_fetching(&self, request: &Request) -> Result<Result<Loaded, Failed>, Fault> {
        let mut request = Cow::Borrowed(request);
        loop {
            match load::load(&request) {
                Err(failed) if !failed.wanted.is_empty() => {
                    runtime().await;
                    let environment = load::environment(&request);
                    let fetched = self.unless_interrupted(fetch::all(&failed.wanted, &environment)).await?;
                    request.to_mut().fetched.extend(fetched);
                }
                result => return Ok(result),
            }
        }
    }

    async fn loaded(&mut self, loaded: &Loaded) -> Result<(), Fault> {
        let ours = loaded.project.environment.iter().filter(|(k, _)| k.starts_with("COMPOSE_") || k.starts_with("CONSORT_"));
        for (name, value) in ours {
            self.environment.entry(name.clone()).or_insert_with(|| value.clone());
        }
        self.settings = Settings::resolve(&self.globals, &self.environment, self.terminals)?;
        if self.settings.engine.engine == "sim" {
            self.settings.engine.project = Some(Arc::new(loaded.project.clone()));
        }
        self.settings.engine.project_name = Some(loaded.project.name.clone());
        self.settings.engine.needs_embedded = loaded.project.services.values().any(|s| s.image.starts_with("rootfs:"));
        *self.console.look() = self.settings.look;
        self.console.set_sources(Arc::new(loaded.sources.clone()));
        if !loaded.diagnostics.is_empty() {
            self.console.findings(&loaded.diagnostics).await;
        }
        Ok(())
    }

    /// Loads the project if that is possible; else its name is enough. With `-p` and without `-f` nothing is loaded.
    pub(crate) async fn load_or_name(&mut self, services: &[String]) -> Result<Known, Fault> {
        if let Some(name) = self.globals.project_name.clone().filter(|n| !n.is_empty())
            && self.globals.files.is_empty()
        {
            return Ok(self.known(name.to_lowercase()));
        }
        // A name on the command line names a service of the labels as well as one of the file.
        let _ = services;
        let request = self.request(&[]).await;
        match self.load_fetching(&request).await? {
            Ok(loaded) => {
                self.loaded(&loaded).await?;
                Ok(Known { name: loaded.project.name.clone(), loaded: Some(loaded) })
            }
            Err(failed) => match self.named_by_environment() {
                Some(name) => Ok(self.known(name)),
                None => {
                    self.console.set_sources(Arc::new(failed.sources));
                    Err(failed.diagnostics.into())
                }
            },
        }
    }

    /// A project of which only the name is known.
    fn known(&mut self, name: String) -> Known {
        self.settings.engine.project_name = Some(name.clone());
        Known { name, loaded: None }
    }

    fn named_by_environment(&self) -> Option<String> {
        self.environment.get("COMPOSE_PROJECT_NAME").filter(|n| !n.is_empty()).map(|n| n.to_lowercase())
    }

    /// Whether an engine is connected, or was given.
    pub(crate) fn has_engine(&self) -> bool {
        self.engine.is_some()
    }

    /// Connects to the engine.
    pub(crate) async fn connect(&mut self) -> Result<Arc<dyn Engine>, Fault> {
        if let Some(engine) = &self.engine {
            return Ok(Arc::clone(engine));
        }
        let request = self.settings.engine.clone();
        let chosen = self.unless_interrupted(registry::choose(&request)).await??;
        self.engine = Some(Arc::clone(&chosen.engine));
        self.news = chosen.news;
        Ok(chosen.engine)
    }

    /// Says which engine it is where one would expect another: once, before something is made there.
    pub(crate) async fn tell_choice(&mut self) {
        if let Some(news) = self.news.take().filter(|_| !matches!(self.settings.look.progress, ProgressMode::Quiet | ProgressMode::Json)) {
            self.console.note(&format!("{news}\n")).await;
        }
    }

    /// Waits for `work` until the user ends it.
    pub(crate) async fn unless_interrupted<T>(&self, work: impl Future<Output = T>) -> Result<T, Fault> {
        tokio::select! {
            biased;
            () = self.interrupts.reached(1) => Err(Fault::Interrupted),
            value = work => Ok(value),
        }
    }

    /// Looks at what exists.
    pub(crate) async fn observe(&self, engine: &Arc<dyn Engine>, query: &ObserveQuery) -> Result<crate::world::Observed, Fault> {
        Ok(self.unless_interrupted(engine.observe(query)).await??)
    }

    /// Does `work` with a context and shows what it tells.
    pub(crate) async fn show<T>(
        &mut self,
        title: &str,
        logs: LogStyle,
        engine: &Arc<dyn Engine>,
        project: &str,
        unread: Unread,
        work: impl AsyncFnOnce(Context, Interrupts, &mut Prompt) -> T,
    ) -> Result<T, Fault> {
        let (engine, project, parallel) = (Arc::clone(engine), project.to_owned(), self.settings.parallel);
        let (interrupts, interrupter) = (self.interrupts.clone(), self.interrupter.clone());
        let prompt = &mut self.prompt;
        let unread = move || match unread {
            Unread::End => false,
            Unread::Interrupt => {
                interrupter.interrupt();
                true
            }
        };
        let work = |out: mpsc::Sender<Event>| work(Context { engine, project, out, parallel }, interrupts, prompt);
        match self.console.show(title, logs, unread, work).await {
            Shown::Done(value) => match self.console.broken() {
                Some(error) => {
                    let finding = super::fault::usage(format!("standard output can't be written to: {error}"));
                    Err(finding.into())
                }
                None => Ok(value),
            },
            Shown::Unread => match self.console.broken() {
                Some(error) => Err(super::fault::usage(format!("standard output can't be written to: {error}")).into()),
                None => Err(Fault::Told(Exit::Success)),
            },
        }
    }

    /// How lines of logs are shown.
    pub(crate) fn log_style(&self, no_prefix: bool, timestamps: bool, no_colour: bool, split: bool) -> LogStyle {
        LogStyle { prefix: !no_prefix, timestamps, colour: self.settings.look.colour_out && !no_colour, split }
    }

    /// Tells what is wrong and says how the command ends.
    pub(crate) async fn tell(&mut self, fault: Fault) -> Exit {
        match fault {
            Fault::Findings(findings) => {
                self.console.findings(&findings).await;
                Exit::Failure
            }
            Fault::Engine(error) => {
                self.console.findings(&[hints::engine_finding(&error)]).await;
                Exit::Failure
            }
            Fault::Interrupted => Exit::Interrupted,
            Fault::Told(exit) => exit,
        }
    }

    /// Passes signals on; returns when the user wants out for the third time.
    pub(crate) fn signals(&self, mut signals: mpsc::Receiver<Signal>) -> impl Future<Output = ()> + use<> {
        let interrupter = self.interrupter.clone();
        async move {
            let mut count = 0;
            while signals.recv().await.is_some() {
                interrupter.interrupt();
                count += 1;
                if count >= 3 {
                    return;
                }
            }
            std::future::pending().await
        }
    }

    /// Prints text on standard output; what nobody reads is no fault.
    pub(crate) async fn print(&mut self, text: &str) -> Result<Exit, Fault> {
        self.console.print(text).await;
        match self.console.broken() {
            Some(error) => {
                let finding = super::fault::usage(format!("standard output can't be written to: {error}"));
                Err(finding.into())
            }
            None => Ok(Exit::Success),
        }
    }
}

/// What becomes of a command whose output nobody reads any more.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unread {
    /// It ends.
    End,
    /// It is treated as if Ctrl-C had been pressed.
    Interrupt,
}

/// Whether the Compose file is read from standard input.
pub(crate) fn reads_stdin(globals: &Globals, environment: &BTreeMap<String, String>) -> bool {
    let from_environment = || environment.get("COMPOSE_FILE").is_some_and(|f| f.split([':', ';', ',']).any(|f| f == "-"));
    if globals.files.is_empty() { from_environment() } else { globals.files.iter().any(|f| f == "-") }
}

/// Where a value of the project was written.
pub(crate) fn places(loaded: &Loaded) -> impl Fn(&KeyPath) -> Option<Span> {
    |path| loaded.provenance.nearest(path)
}

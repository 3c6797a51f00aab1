//! The ops of the simulated engine.

use super::Sim;
use super::files::{File, absolute};
use super::image::canonical;
use super::process::{KILL, signal_number};
use super::script::{Script, ThingScript};
use super::shell::{Output, Shell};
use super::state::refused;
use crate::engine::{OpProgress, ProgressSink};
use crate::world::{Applied, EngineError, ErrorKind, EventKind, FileSpec, HookSpec, Op, Progress, State as Life, Target, label};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long a stop waits when nobody says.
const STOP_TIMEOUT: i64 = 10;

fn done() -> Applied {
    Applied { changed: true, ..Applied::default() }
}

fn changed(changed: bool) -> Applied {
    Applied { changed, ..Applied::default() }
}

impl Sim {
    pub(super) async fn perform(&self, op: &Op, progress: &ProgressSink) -> Result<Applied, EngineError> {
        // Every request takes a moment, in which others move too.
        tokio::task::yield_now().await;
        let now = || self.now();
        match op {
            Op::PullImage { reference, .. } => self.pull(reference, progress).await,
            Op::RemoveImage { reference } => self.lock().remove_image(reference).map(changed),
            Op::CreateNetwork(spec) => {
                let script = self.thing_script(&spec.labels, |s| s.networks.get(&spec.name).cloned());
                self.prelude(&format!("network {}", spec.name), "create", &script.words(), script.create_takes).await?;
                let (id, made) = self.lock().create_network(spec)?;
                Ok(Applied { id: Some(id), ..changed(made) })
            }
            Op::RemoveNetwork { name, id } => {
                let labels = self.lock().networks.get(name).map(|n| n.spec.labels.clone()).unwrap_or_default();
                let script = self.thing_script(&labels, |s| s.networks.get(name).cloned());
                self.prelude(&format!("network {name}"), "remove", &script.words(), script.remove_takes).await?;
                self.lock().remove_network(name, id.as_deref()).map(changed)
            }
            Op::CreateVolume(spec) => {
                let script = self.thing_script(&spec.labels, |s| s.volumes.get(&spec.name).cloned());
                self.prelude(&format!("volume {}", spec.name), "create", &script.words(), script.create_takes).await?;
                self.lock().create_volume(spec)?;
                Ok(Applied { id: Some(spec.name.clone()), ..done() })
            }
            Op::RemoveVolume { name } => {
                let labels = self.lock().volumes.get(name).map(|v| v.state.labels.clone()).unwrap_or_default();
                let script = self.thing_script(&labels, |s| s.volumes.get(name).cloned());
                self.prelude(&format!("volume {name}"), "remove", &script.words(), script.remove_takes).await?;
                self.lock().remove_volume(name).map(changed)
            }
            Op::CreateContainer(spec) => {
                let of = |name| spec.labels.get(name).map_or("", String::as_str);
                let script = self.lock().script_for(of(label::PROJECT), of(label::SERVICE));
                self.prelude(&format!("container {}", spec.name), "create", &script.words(), script.create_takes).await?;
                let capabilities = self.shared.capabilities.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
                let (id, warnings) = self.lock().create(spec, &capabilities, now())?;
                Ok(Applied { id: Some(id), warnings, changed: true })
            }
            Op::ConnectNetwork { container, endpoint } => {
                let id = self.known(container, "connect", |_| Duration::ZERO).await?;
                self.lock().connect(&id, endpoint).map(changed)
            }
            Op::DisconnectNetwork { container, network } => {
                let id = self.lock().id_of(container)?;
                self.lock().disconnect(&id, network).map(changed)
            }
            Op::WriteFiles { container, files } => self.write_files(container, files).await,
            Op::RenameContainer { container, to } => {
                let id = self.known(container, "rename", |_| Duration::ZERO).await?;
                self.lock().rename(&id, to, now()).map(changed)
            }
            Op::StartContainer { container } => self.start(container).await,
            Op::StopContainer { container, timeout } => self.stop(container, *timeout).await,
            Op::RestartContainer { container, timeout } => self.restart(container, *timeout).await,
            Op::KillContainer { container, signal } => self.kill(container, signal).await,
            Op::PauseContainer { container } => self.freeze(container, true).await,
            Op::UnpauseContainer { container } => self.freeze(container, false).await,
            Op::RemoveContainer { container, volumes } => self.remove(container, *volumes).await,
            Op::RunHook { container, hook } => self.hook(container, hook).await,
        }
    }

    fn thing_script(
        &self,
        labels: &std::collections::BTreeMap<String, String>,
        get: impl Fn(&super::script::Scripts) -> Option<ThingScript>,
    ) -> ThingScript {
        let state = self.lock();
        labels.get(label::PROJECT).and_then(|p| state.scripts.get(p)).and_then(get).unwrap_or_default()
    }

    /// What a script does to every op: it takes its time, and it may be refused.
    async fn prelude(&self, what: &str, verb: &str, words: &Words<'_>, takes: Duration) -> Result<(), EngineError> {
        if !takes.is_zero() {
            sleep(takes).await;
        }
        self.refuse(what, verb, words)
    }

    fn refuse(&self, what: &str, verb: &str, words: &Words<'_>) -> Result<(), EngineError> {
        if !words.refuse.iter().any(|r| r == verb) {
            return Ok(());
        }
        let mut state = self.lock();
        let count = state.refusals.entry(format!("{verb} {what}")).or_default();
        if words.times.is_some_and(|most| *count >= most) {
            return Ok(());
        }
        *count += 1;
        let text = if words.text.is_empty() { "the script says so" } else { words.text };
        Err(refused(format!("{what}: {verb} was refused"), text))
    }

    pub(super) fn refuse_by_script(&self, container: &Target, verb: &str) -> Result<(), EngineError> {
        let (script, name) = {
            let mut state = self.lock();
            let id = state.id_of(container)?;
            let container = state.get(&id)?;
            (container.script.clone(), container.name.clone())
        };
        self.refuse(&format!("container {name}"), verb, &script.words())
    }

    /// The id of a container that an op is about, after its script's prelude.
    async fn known(&self, container: &Target, verb: &str, takes: impl Fn(&Script) -> Duration) -> Result<String, EngineError> {
        let (id, script, name) = {
            let mut state = self.lock();
            let id = state.id_of(container)?;
            let container = state.get(&id)?;
            (id, container.script.clone(), container.name.clone())
        };
        self.prelude(&format!("container {name}"), verb, &script.words(), takes(&script)).await?;
        self.lock().get(&id)?;
        Ok(id)
    }

    async fn pull(&self, reference: &str, progress: &ProgressSink) -> Result<Applied, EngineError> {
        if !self.shared.capabilities.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pull {
            return Err(EngineError::new(ErrorKind::Unsupported, format!("image {reference} can't be pulled")).because("this engine pulls nothing"));
        }
        let script = {
            let state = self.lock();
            let full = canonical(reference);
            // Which service asks isn't known: the first whose image it is and whose script speaks of pulling.
            let of_image = state.scripts.values().flat_map(|s| {
                let same = s.images.iter().filter(|(_, (image, _))| canonical(image) == full);
                same.filter_map(|(service, _)| s.services.get(service))
            });
            let found = of_image.into_iter().find(|s| s.speaks_of_pulling());
            found.cloned().unwrap_or_default()
        };
        let total = 10 * 1024 * 1024;
        for step in 1..=4_u64 {
            sleep(script.pull_takes / 4).await;
            let report =
                OpProgress { part: "layer".into(), text: "Downloading".into(), progress: Some(Progress { current: total / 4 * step, total }) };
            // Nobody reads fast enough: the report is lost, as the port has it.
            let _ = progress.try_send(report);
        }
        self.refuse(&format!("image {reference}"), "pull", &script.words())?;
        self.lock().pull(reference).map(changed)
    }

    async fn write_files(&self, container: &Target, files: &[FileSpec]) -> Result<Applied, EngineError> {
        let id = self.known(container, "write", |_| Duration::ZERO).await?;
        let mut state = self.lock();
        let target = state.get(&id)?;
        if target.is_running() {
            return Err(refused(format!("files can't be written into container {}", target.name), "it runs"));
        }
        for spec in files {
            if !spec.path.starts_with('/') {
                return Err(refused(format!("files can't be written into container {}", container.name), format!("{} is not absolute", spec.path)));
            }
            let or_root = |s: &str| if s.is_empty() { "0".to_owned() } else { s.to_owned() };
            let file = File { mode: spec.mode & 0o7777, uid: or_root(&spec.uid), gid: or_root(&spec.gid), ..File::new(spec.content.clone()) };
            state.write(&id, &absolute("/", &spec.path), file).map_err(|why| refused(format!("{} can't be written", spec.path), why))?;
        }
        Ok(changed(!files.is_empty()))
    }

    async fn start(&self, container: &Target) -> Result<Applied, EngineError> {
        let id = self.known(container, "start", |s| s.start_takes).await?;
        {
            let mut state = self.lock();
            let target = state.get(&id)?;
            match target.state {
                Life::Running => return Ok(changed(false)),
                Life::Paused => {
                    return Err(EngineError::new(ErrorKind::Conflict, format!("container {} is paused; unpause it instead", target.name)));
                }
                Life::Removing | Life::Dead => {
                    return Err(EngineError::new(ErrorKind::Conflict, format!("container {} is being removed", target.name)));
                }
                Life::Created | Life::Exited | Life::Restarting => {}
            }
            let argv = target.argv();
            let absent = target.image.script.strict_programs && !super::shell::knows(&argv) && !target.script.rules_the_process();
            let equipped = if absent {
                let program = argv.first().cloned().unwrap_or_default();
                Err(refused(format!("container {} can't be started", target.name), format!("exec: {program:?}: executable file not found in $PATH")))
            } else {
                state.equip(&id)
            };
            if let Err(error) = equipped {
                let target = state.get(&id)?;
                target.exit_code = if absent { 127 } else { 128 };
                target.error = error.source.clone().unwrap_or_else(|| error.what.clone());
                return Err(error);
            }
            state.get(&id)?.restarts = 0;
        }
        self.launch(&id);
        Ok(done())
    }

    async fn stop(&self, container: &Target, seconds: Option<i64>) -> Result<Applied, EngineError> {
        let id = self.known(container, "stop", |_| Duration::ZERO).await?;
        let stopped = self.end(&id, seconds).await?;
        if stopped {
            let now = self.now();
            self.lock().emit(&id, EventKind::Stopped, now);
        }
        Ok(changed(stopped))
    }

    /// Ends process 1: its stop signal, then SIGKILL. False if there was none.
    async fn end(&self, id: &str, seconds: Option<i64>) -> Result<bool, EngineError> {
        let (mut ended, signal, seconds) = {
            let now = self.now();
            let mut state = self.lock();
            let target = state.get(id)?;
            target.stopped = true;
            if target.state == Life::Restarting {
                target.state = Life::Exited;
                return Ok(true);
            }
            let Some(process) = &target.process else { return Ok(false) };
            // A frozen process couldn't end.
            process.frozen.send_replace(false);
            let name = target.stop_signal().to_owned();
            let signal = signal_number(&name)?;
            let found = (process.ended.clone(), signal, seconds.or(target.spec.stop_timeout).unwrap_or(STOP_TIMEOUT));
            if found.2 != 0 {
                // An error means that it has just ended.
                let _ = process.signals.send(signal);
                state.emit(id, EventKind::Killed { signal: signal.to_string() }, now);
            }
            found
        };
        let _ = signal;
        let patience = u64::try_from(seconds).map_or(Duration::MAX, Duration::from_secs);
        if seconds == 0 || timeout(patience, ended.wait_for(|e| *e)).await.is_err() {
            {
                let now = self.now();
                let mut state = self.lock();
                let alive = state.get(id).is_ok_and(|c| c.process.as_ref().is_some_and(|p| p.signals.send(KILL).is_ok()));
                if alive {
                    state.emit(id, EventKind::Killed { signal: KILL.to_string() }, now);
                }
            }
            // An error means that its task is gone, which is an end too.
            let _ = ended.wait_for(|e| *e).await;
        }
        Ok(true)
    }

    async fn restart(&self, container: &Target, seconds: Option<i64>) -> Result<Applied, EngineError> {
        let id = self.known(container, "restart", |_| Duration::ZERO).await?;
        if self.end(&id, seconds).await? {
            let now = self.now();
            self.lock().emit(&id, EventKind::Stopped, now);
        }
        self.start(&Target::existing(container.name.clone(), id.clone())).await?;
        let now = self.now();
        self.lock().emit(&id, EventKind::Restarted, now);
        Ok(done())
    }

    async fn kill(&self, container: &Target, signal: &str) -> Result<Applied, EngineError> {
        let id = self.known(container, "kill", |_| Duration::ZERO).await?;
        let number = signal_number(signal)?;
        let mut ended = {
            let now = self.now();
            let mut state = self.lock();
            let target = state.get(&id)?;
            let Some(process) = target.process.as_ref().filter(|p| p.signals.send(number).is_ok()) else { return Ok(changed(false)) };
            let ended = process.ended.clone();
            if number == KILL {
                process.frozen.send_replace(false);
                target.stopped = true;
            }
            state.emit(&id, EventKind::Killed { signal: number.to_string() }, now);
            ended
        };
        if number == KILL {
            // An error means that its task is gone, which is an end too.
            let _ = ended.wait_for(|e| *e).await;
        }
        Ok(done())
    }

    async fn freeze(&self, container: &Target, frozen: bool) -> Result<Applied, EngineError> {
        if !self.shared.capabilities.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pause {
            return Err(EngineError::new(ErrorKind::Unsupported, format!("container {} can't be paused", container.name)));
        }
        let id = self.known(container, if frozen { "pause" } else { "unpause" }, |_| Duration::ZERO).await?;
        let now = self.now();
        let mut state = self.lock();
        let target = state.get(&id)?;
        match (target.state, frozen) {
            (Life::Paused, true) | (Life::Running | Life::Created | Life::Exited, false) => return Ok(changed(false)),
            (Life::Running, true) | (Life::Paused, false) => {}
            _ => return Err(EngineError::new(ErrorKind::Conflict, format!("container {} is not running", target.name))),
        }
        target.state = if frozen { Life::Paused } else { Life::Running };
        if let Some(process) = &target.process {
            process.frozen.send_replace(frozen);
        }
        state.emit(&id, if frozen { EventKind::Paused } else { EventKind::Unpaused }, now);
        Ok(done())
    }

    async fn remove(&self, container: &Target, volumes: bool) -> Result<Applied, EngineError> {
        if self.lock().id_of(container).is_err() {
            return Ok(changed(false));
        }
        let id = match self.known(container, "remove", |s| s.remove_takes).await {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(changed(false)),
            other => other?,
        };
        self.end(&id, Some(0)).await?;
        let now = self.now();
        let mut state = self.lock();
        match state.remove(&id, volumes, now) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(changed(false)),
            other => other.map(|()| done()),
        }
    }

    async fn hook(&self, container: &Target, hook: &HookSpec) -> Result<Applied, EngineError> {
        let id = self.known(container, "hook", |_| Duration::ZERO).await?;
        let (output, sink) = Output::captured();
        {
            let mut state = self.lock();
            let target = state.get(&id)?;
            if target.state != Life::Running {
                return Err(EngineError::new(ErrorKind::Conflict, format!("container {} is not running", target.name)));
            }
        }
        let mut shell = Shell::in_container(self, &id, output);
        for (name, value) in &hook.environment {
            match value {
                Some(value) => shell.environment.insert(name.clone(), value.clone()),
                None => shell.environment.remove(name),
            };
        }
        if !hook.user.is_empty() {
            shell.user.clone_from(&hook.user);
        }
        if !hook.working_dir.is_empty() {
            shell.cwd.clone_from(&hook.working_dir);
        }
        match shell.run(&hook.command).await {
            0 => Ok(done()),
            code => Err(refused(
                format!("hook `{}` of container {} exited with status {code}", hook.command.join(" "), container.name),
                sink.text().trim_end().to_owned(),
            )),
        }
    }
}

/// What a script says of refusing.
struct Words<'s> {
    refuse: &'s [String],
    times: Option<u32>,
    text: &'s str,
}

impl Script {
    fn words(&self) -> Words<'_> {
        Words { refuse: &self.refuse, times: self.refuse_times, text: &self.refuse_text }
    }

    fn speaks_of_pulling(&self) -> bool {
        !self.pull_takes.is_zero() || self.refuse.iter().any(|r| r == "pull")
    }
}

impl ThingScript {
    fn words(&self) -> Words<'_> {
        Words { refuse: &self.refuse, times: self.refuse_times, text: &self.refuse_text }
    }
}

//! A simulated container: what is known of it, and how an engine would show it.

use super::files::{File, Tree, is_below};
use super::image::SimImage;
use super::script::Script;
use crate::engine::status::{self, Run};
use crate::units::Timestamp;
use crate::world::{
    Attachment, Container as Observed, ContainerDetails, ContainerId, ContainerSpec, EndpointSpec, Health, HealthcheckSpec, LogChunk, MountPoint,
    Probe, PublishedPort, State, label,
};
use std::collections::BTreeMap;
use tokio::sync::{mpsc, watch};

/// How many probes an engine remembers.
const PROBES: usize = 5;

/// A signal for process 1, by number.
pub(super) type Signal = i32;

/// A container.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) id: String,
    pub(super) name: String,
    /// Its labels hold the configuration hash.
    pub(super) spec: ContainerSpec,
    pub(super) image: SimImage,
    pub(super) script: Script,
    pub(super) created: Timestamp,
    pub(super) state: State,
    pub(super) health: Option<Health>,
    pub(super) probes: Vec<Probe>,
    pub(super) exit_code: i64,
    pub(super) oom: bool,
    pub(super) error: String,
    pub(super) started: Option<Timestamp>,
    pub(super) finished: Option<Timestamp>,
    /// How often it was started, by whomever. Also says which run a late timer belongs to.
    pub(super) starts: u32,
    /// How often in a row its restart policy has started it.
    pub(super) restarts: u64,
    /// It was stopped on purpose, so its restart policy rests.
    pub(super) stopped: bool,
    pub(super) ports: Vec<PublishedPort>,
    pub(super) mounts: Vec<Mount>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) layer: Tree,
    pub(super) log: Log,
    /// Process 1, while it runs.
    pub(super) process: Option<Process>,
}

/// A mount: where, and of what.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    pub(super) point: MountPoint,
    /// An anonymous volume that this container brought into being.
    pub(super) anonymous: bool,
    /// Path within the volume.
    pub(super) subpath: String,
    /// What a tmpfs holds.
    pub(super) memory: Tree,
}

/// A place on a network.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) spec: EndpointSpec,
    /// While it runs.
    pub(super) ipv4: String,
}

/// Process 1 as seen from outside.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) signals: mpsc::UnboundedSender<Signal>,
    /// Turns true at its end.
    pub(super) ended: watch::Receiver<bool>,
    pub(super) frozen: watch::Sender<bool>,
    pub(super) pid: i64,
}

/// What a container has printed.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) chunks: Vec<LogChunk>,
    /// Begun lines of standard output and error.
    pub(super) begun: [Vec<u8>; 2],
    /// Counts changes, for followers.
    pub(super) version: watch::Sender<u64>,
}

impl Default for Log {
    fn default() -> Self {
        Self { chunks: Vec::new(), begun: [Vec::new(), Vec::new()], version: watch::Sender::new(0) }
    }
}

impl Container {
    pub(super) fn project(&self) -> &str {
        self.spec.labels.get(label::PROJECT).map_or("", String::as_str)
    }

    pub(super) fn service(&self) -> &str {
        self.spec.labels.get(label::SERVICE).map_or("", String::as_str)
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running | State::Paused)
    }

    /// The health check in force, if there is one.
    pub(super) fn healthcheck(&self) -> Option<HealthcheckSpec> {
        let of_image = self.image.healthcheck();
        let check = match &self.spec.healthcheck {
            Some(own) if !own.test.is_empty() => Some(own.clone()),
            Some(own) => of_image.map(|i| HealthcheckSpec {
                test: i.test,
                interval: own.interval.or(i.interval),
                timeout: own.timeout.or(i.timeout),
                start_period: own.start_period.or(i.start_period),
                start_interval: own.start_interval.or(i.start_interval),
                retries: own.retries.or(i.retries),
            }),
            None => of_image,
        };
        check.filter(|c| !c.is_none() && !c.test.is_empty())
    }

    /// Entry point and command in force. An entry point of one's own drops the image's command.
    pub(super) fn argv(&self) -> Vec<String> {
        let image = &self.image.script;
        let own_entrypoint = self.spec.entrypoint.is_some();
        let entrypoint = self.spec.entrypoint.clone().unwrap_or_else(|| image.entrypoint.clone());
        let command = self.spec.command.clone().unwrap_or_else(|| if own_entrypoint { Vec::new() } else { image.command.clone() });
        entrypoint.into_iter().chain(command).collect()
    }

    /// The environment of its processes.
    pub(super) fn environment(&self) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::from([
            ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("HOSTNAME".to_owned(), self.hostname()),
            ("HOME".to_owned(), "/root".to_owned()),
        ]);
        environment.extend(self.image.script.environment.clone());
        for (name, value) in &self.spec.environment {
            match value {
                Some(value) => environment.insert(name.clone(), value.clone()),
                None => environment.remove(name),
            };
        }
        environment
    }

    pub(super) fn hostname(&self) -> String {
        if self.spec.hostname.is_empty() { self.id.chars().take(12).collect() } else { self.spec.hostname.clone() }
    }

    pub(super) fn user(&self) -> &str {
        if self.spec.user.is_empty() { &self.image.script.user } else { &self.spec.user }
    }

    pub(super) fn working_dir(&self) -> &str {
        match (self.spec.working_dir.as_str(), self.image.script.working_dir.as_str()) {
            ("", "") => "/",
            ("", image) => image,
            (own, _) => own,
        }
    }

    pub(super) fn stop_signal(&self) -> &str {
        match (self.spec.stop_signal.as_str(), self.image.script.stop_signal.as_str()) {
            ("", "") => "SIGTERM",
            ("", image) => image,
            (own, _) => own,
        }
    }

    /// The mount that holds `path`, if it isn't in the container's own layer.
    pub(super) fn mount_of(&self, path: &str) -> Option<usize> {
        let holds = |m: &&(usize, &Mount)| path == m.1.point.target || is_below(path, &m.1.point.target);
        self.mounts.iter().enumerate().collect::<Vec<_>>().iter().filter(holds).max_by_key(|(_, m)| m.point.target.len()).map(|(i, _)| *i)
    }

    /// Files that the engine puts into every container.
    pub(super) fn built_in(&self, path: &str) -> Option<File> {
        let text = match path {
            "/etc/hostname" => format!("{}\n", self.hostname()),
            "/etc/hosts" => {
                let extra =
                    self.spec.extra_hosts.iter().filter_map(|h| h.split_once([':', '='])).map(|(name, address)| format!("{address}\t{name}\n"));
                let own = self.endpoints.iter().filter(|e| !e.ipv4.is_empty()).map(|e| format!("{}\t{}\n", e.ipv4, self.hostname()));
                std::iter::once("127.0.0.1\tlocalhost\n".to_owned()).chain(extra).chain(own).collect()
            }
            "/etc/resolv.conf" => {
                let servers = if self.spec.dns.is_empty() { vec!["127.0.0.11".to_owned()] } else { self.spec.dns.clone() };
                let search = self.spec.dns_search.join(" ");
                let search = if search.is_empty() { String::new() } else { format!("search {search}\n") };
                let options = self.spec.dns_options.join(" ");
                let options = if options.is_empty() { String::new() } else { format!("options {options}\n") };
                format!("{search}{}{options}", servers.iter().map(|s| format!("nameserver {s}\n")).collect::<String>())
            }
            _ => return None,
        };
        Some(File::new(text.into_bytes()))
    }

    pub(super) fn remember(&mut self, probe: Probe) {
        self.probes.push(probe);
        if self.probes.len() > PROBES {
            self.probes.remove(0);
        }
    }

    pub(super) fn identity(&self) -> ContainerId {
        let label = |name: &str| self.spec.labels.get(name);
        ContainerId {
            id: self.id.clone(),
            name: self.name.clone(),
            service: self.service().to_owned(),
            number: label(label::CONTAINER_NUMBER).and_then(|n| n.parse().ok()),
            oneoff: label(label::ONEOFF).is_some_and(|v| v.eq_ignore_ascii_case("true")),
            replaces: label(label::REPLACE).cloned(),
        }
    }

    pub(super) fn observed(&self, now: Timestamp, networks: &BTreeMap<String, super::network::Network>) -> Observed {
        Observed {
            id: self.id.clone(),
            name: self.name.clone(),
            image: self.spec.image.clone(),
            image_id: self.image.id(&self.spec.image),
            command: self.argv().join(" "),
            created: self.created,
            state: self.state,
            health: self.health.filter(|_| self.is_running()),
            exit_code: Some(self.exit_code),
            status: self.status(now),
            runtime: String::new(),
            labels: self.spec.labels.clone(),
            ports: if self.is_running() { self.ports.clone() } else { Vec::new() },
            mounts: self.mounts.iter().map(|m| m.point.clone()).collect(),
            networks: self
                .endpoints
                .iter()
                .map(|e| Attachment {
                    network: e.spec.network.clone(),
                    network_id: networks.get(&e.spec.network).map(|n| n.id.clone()).unwrap_or_default(),
                    ipv4: e.ipv4.clone(),
                    ipv6: String::new(),
                })
                .collect(),
        }
    }

    pub(super) fn details(&self) -> ContainerDetails {
        ContainerDetails {
            id: self.id.clone(),
            name: self.name.clone(),
            state: Some(self.state),
            health: self.health.filter(|_| self.is_running()),
            healthcheck: self.healthcheck(),
            probes: self.probes.clone(),
            exit_code: self.exit_code,
            oom_killed: self.oom,
            error: self.error.clone(),
            restarts: self.restarts,
            started: self.started,
            finished: self.finished,
            restart: self.spec.restart.clone(),
            tty: self.spec.tty,
            log_driver: self.spec.log.as_ref().map(|l| l.driver.clone()).filter(|d| !d.is_empty()).unwrap_or_else(|| "json-file".into()),
            pid: self.process.as_ref().map_or(0, |p| p.pid),
            command: self.argv(),
        }
    }

    fn status(&self, now: Timestamp) -> String {
        let run = Run { health: self.health, exit_code: Some(self.exit_code), started: self.started, finished: self.finished };
        status::sentence(self.state, &run, now)
    }
}

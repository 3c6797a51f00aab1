//! What can be done to an engine: one op, one engine call.

use super::{ContainerSpec, EndpointSpec, FileSpec, HookSpec, NetworkSpec, Subject, SubjectKind, VolumeSpec};
use serde::{Deserialize, Serialize};

/// A container that an op is about. Engines take `id` where it is known, else `name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// Real name at the time of the op.
    pub name: String,
    /// Id, for a container that existed when the plan was made.
    pub id: Option<String>,
}

impl Target {
    /// A container that will exist by then.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), id: None }
    }

    /// A container that exists.
    pub fn existing(name: impl Into<String>, id: impl Into<String>) -> Self {
        Self { name: name.into(), id: Some(id.into()) }
    }

    /// What the engine is asked with.
    pub fn reference(&self) -> &str {
        self.id.as_deref().unwrap_or(&self.name)
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Fetch an image.
    PullImage {
        /// Reference.
        reference: String,
        /// `os/arch[/variant]`; `None` is the engine's own.
        platform: Option<String>,
    },
    /// Remove a tag; the image goes with its last one.
    RemoveImage {
        /// Reference.
        reference: String,
    },
    /// Create a network.
    CreateNetwork(NetworkSpec),
    /// Remove a network.
    RemoveNetwork {
        /// Real name.
        name: String,
        /// Id, where known: names of networks are not unique.
        id: Option<String>,
    },
    /// Connect a container.
    ConnectNetwork {
        /// The container.
        container: Target,
        /// Where and how.
        endpoint: Box<EndpointSpec>,
    },
    /// Disconnect a container.
    DisconnectNetwork {
        /// The container.
        container: Target,
        /// Real name of the network.
        network: String,
    },
    /// Create a volume.
    CreateVolume(VolumeSpec),
    /// Remove a volume and what is stored in it.
    RemoveVolume {
        /// Real name.
        name: String,
    },
    /// Create a container.
    CreateContainer(Box<ContainerSpec>),
    /// Write files into a container that is not running.
    WriteFiles {
        /// The container.
        container: Target,
        /// The files.
        files: Vec<FileSpec>,
    },
    /// Give a container another name.
    RenameContainer {
        /// The container.
        container: Target,
        /// The new name.
        to: String,
    },
    /// Start a container.
    StartContainer {
        /// The container.
        container: Target,
    },
    /// Stop a container: its stop signal, then SIGKILL.
    StopContainer {
        /// The container.
        container: Target,
        /// Seconds until SIGKILL; `None` is what the container was created with.
        timeout: Option<i64>,
    },
    /// Stop and start a container.
    RestartContainer {
        /// The container.
        container: Target,
        /// Seconds until SIGKILL; `None` is what the container was created with.
        timeout: Option<i64>,
    },
    /// Send a signal to process 1 of a container.
    KillContainer {
        /// The container.
        container: Target,
        /// Name or number.
        signal: String,
    },
    /// Freeze a container.
    PauseContainer {
        /// The container.
        container: Target,
    },
    /// Resume a frozen container.
    UnpauseContainer {
        /// The container.
        container: Target,
    },
    /// Remove a container, running or not.
    RemoveContainer {
        /// The container.
        container: Target,
        /// Its anonymous volumes too.
        volumes: bool,
    },
    /// Run a command inside a running container and wait for it; a code other than 0 is an error.
    RunHook {
        /// The container.
        container: Target,
        /// The command.
        hook: HookSpec,
    },
}

impl Op {
    /// What the op is about, as the user knows it.
    pub fn subject(&self) -> Subject {
        let container = |t: &Target| Subject::new(SubjectKind::Container, &t.name);
        match self {
            Self::PullImage { reference, .. } | Self::RemoveImage { reference } => Subject::new(SubjectKind::Image, reference),
            Self::CreateNetwork(spec) => Subject::new(SubjectKind::Network, &spec.name),
            Self::RemoveNetwork { name, .. } => Subject::new(SubjectKind::Network, name),
            Self::CreateVolume(spec) => Subject::new(SubjectKind::Volume, &spec.name),
            Self::RemoveVolume { name } => Subject::new(SubjectKind::Volume, name),
            Self::CreateContainer(spec) => Subject::new(SubjectKind::Container, &spec.name),
            Self::ConnectNetwork { container: c, .. }
            | Self::DisconnectNetwork { container: c, .. }
            | Self::WriteFiles { container: c, .. }
            | Self::RenameContainer { container: c, .. }
            | Self::StartContainer { container: c }
            | Self::StopContainer { container: c, .. }
            | Self::RestartContainer { container: c, .. }
            | Self::KillContainer { container: c, .. }
            | Self::PauseContainer { container: c }
            | Self::UnpauseContainer { container: c }
            | Self::RemoveContainer { container: c, .. }
            | Self::RunHook { container: c, .. } => container(c),
        }
    }

    /// The container it is done to; none for what is done to other things, and for the creation of one.
    pub fn container_mut(&mut self) -> Option<&mut Target> {
        match self {
            Self::PullImage { .. }
            | Self::RemoveImage { .. }
            | Self::CreateNetwork(_)
            | Self::RemoveNetwork { .. }
            | Self::CreateVolume(_)
            | Self::RemoveVolume { .. }
            | Self::CreateContainer(_) => None,
            Self::ConnectNetwork { container: c, .. }
            | Self::DisconnectNetwork { container: c, .. }
            | Self::WriteFiles { container: c, .. }
            | Self::RenameContainer { container: c, .. }
            | Self::StartContainer { container: c }
            | Self::StopContainer { container: c, .. }
            | Self::RestartContainer { container: c, .. }
            | Self::KillContainer { container: c, .. }
            | Self::PauseContainer { container: c }
            | Self::UnpauseContainer { container: c }
            | Self::RemoveContainer { container: c, .. }
            | Self::RunHook { container: c, .. } => Some(c),
        }
    }

    /// The verb, for plans and records: `create container`.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::PullImage { .. } => "pull image",
            Self::RemoveImage { .. } => "remove image",
            Self::CreateNetwork(_) => "create network",
            Self::RemoveNetwork { .. } => "remove network",
            Self::ConnectNetwork { .. } => "connect",
            Self::DisconnectNetwork { .. } => "disconnect",
            Self::CreateVolume(_) => "create volume",
            Self::RemoveVolume { .. } => "remove volume",
            Self::CreateContainer(_) => "create container",
            Self::WriteFiles { .. } => "write files",
            Self::RenameContainer { .. } => "rename",
            Self::StartContainer { .. } => "start",
            Self::StopContainer { .. } => "stop",
            Self::RestartContainer { .. } => "restart",
            Self::KillContainer { .. } => "kill",
            Self::PauseContainer { .. } => "pause",
            Self::UnpauseContainer { .. } => "unpause",
            Self::RemoveContainer { .. } => "remove container",
            Self::RunHook { .. } => "run hook",
        }
    }
}

/// What an op gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Id of what was created.
    pub id: Option<String>,
    /// What the engine wants the user to know.
    pub warnings: Vec<String>,
    /// False where there was nothing to do: it was already stopped, already gone.
    pub changed: bool,
}

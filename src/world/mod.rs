//! The engines' language: what exists, what can be done, what happened.
//!
//! `plan` and `engine` never meet; the types of this module are all they share. Nothing here knows YAML, a terminal
//! or a particular engine.

mod bind;
mod capabilities;
mod error;
mod event;
mod observed;
mod op;
mod session;
mod spec;

pub mod label;
pub mod signal;

pub use bind::bind;
pub use capabilities::{Capabilities, Owner};
pub use error::{EngineError, ErrorKind};
pub use event::{ContainerId, EngineEvent, Event, EventKind, Happening, LogLine, Progress, Stream, Subject, SubjectKind, TaskState};
pub use observed::{
    Attachment, Container, ContainerDetails, Health, Image, ImageQuery, MountPoint, NetworkState, ObserveQuery, Observed, Probe, PublishedPort,
    State, VolumeState,
};
pub use op::{Applied, Op, Target};
pub use session::{ExecControl, ExecOutput, ExecSession, ExecSpec, LogChunk, LogQuery};
pub use spec::{
    ConfigHash, ContainerSpec, DeviceRequestSpec, DeviceSpec, EndpointSpec, FileSpec, HealthcheckSpec, HookSpec, InstanceKey, IpamPoolSpec, LogSpec,
    MountKind, MountSpec, NetworkMode, NetworkSpec, PortSpec, ResourceSpec, RestartPolicy, SecuritySpec, UlimitSpec, VolumeSpec, image_path,
};

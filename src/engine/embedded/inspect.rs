//! Everything worth knowing of one container.

use super::Places;
use super::observe::{Seen, boot};
use super::record;
use crate::world::{ContainerDetails, EngineError, ErrorKind, State, Target};

/// The container that is meant, with what the files say of it.
///
/// # Errors
/// [`ErrorKind::NotFound`]; files that can't be understood.
pub fn find(places: &Places, container: &Target) -> Result<Seen, EngineError> {
    let id = record::container_id(places, container.reference()).map_err(|e| named(e, container))?;
    Seen::read(places, &id)?.ok_or_else(|| named(EngineError::new(ErrorKind::NotFound, String::new()), container))
}

/// An id says nothing to a user, the name does.
fn named(error: EngineError, container: &Target) -> EngineError {
    if error.kind == ErrorKind::NotFound {
        EngineError::new(ErrorKind::NotFound, format!("there is no container `{}`", container.name))
    } else {
        error
    }
}

/// Nothing can be done in a container without a process.
pub fn not_running(name: &str) -> EngineError {
    EngineError::new(ErrorKind::Conflict, format!("container {name} is not running"))
}

/// Inspects it.
pub fn details(seen: Seen) -> ContainerDetails {
    let state = seen.standing(&boot());
    let Seen { record, state: kept } = seen;
    let same = state == kept.state.unwrap_or(State::Created);
    ContainerDetails {
        id: record.id,
        name: record.name,
        state: Some(state),
        health: kept.health.filter(|_| state == State::Running),
        healthcheck: record.healthcheck.filter(|h| !h.test.is_empty()),
        probes: kept.probes,
        exit_code: match state {
            State::Created => kept.exit_code.unwrap_or(0),
            State::Running | State::Paused => 0,
            _ if !same => 255,
            _ => kept.exit_code.unwrap_or(255),
        },
        oom_killed: kept.oom_killed,
        error: if same { kept.error } else { "the machine was started anew".to_owned() },
        restarts: kept.restarts,
        started: kept.started,
        finished: kept.finished,
        restart: record.spec.restart,
        tty: record.spec.tty,
        log_driver: record.spec.log.map(|l| l.driver).filter(|d| !d.is_empty()).unwrap_or_else(|| "local".to_owned()),
        pid: if matches!(state, State::Running | State::Paused) { i64::from(kept.pid) } else { 0 },
        command: record.argv,
    }
}

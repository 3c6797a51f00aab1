//! Networks of a container that exists.

use super::super::net::Guest;
use super::container::Ticket;
use super::turn::{Reply, Supervisor, changed};
use crate::world::{Applied, EndpointSpec, EngineError, ErrorKind, NetworkMode, Op, Target};

impl Supervisor {
    /// Connects a container to one more network.
    pub fn connect(&mut self, ticket: Ticket, target: &Target, endpoint: EndpointSpec) -> Reply {
        let id = self.id_of(target)?;
        let again = || Op::ConnectNetwork { container: target.clone(), endpoint: Box::new(endpoint.clone()) };
        if self.put_off(&id, ticket, again) {
            return Ok(None);
        }
        self.check_network(&endpoint.network)?;
        let Some(container) = self.containers.get(&id) else { return Ok(Some(changed(false))) };
        let name = container.record.name.clone();
        if container.record.spec.network_mode != NetworkMode::Networks {
            let error = EngineError::new(ErrorKind::Refused, format!("container {name} can't be connected"));
            return Err(error.because("its network mode leaves no room for networks"));
        }
        if container.record.spec.networks.iter().any(|e| e.network == endpoint.network) {
            return Ok(Some(changed(false)));
        }
        let attachment = self.with_guest(&id, |net, guest| net.connect(guest, &endpoint))?;
        let running = attachment.is_some();
        if let Some(container) = self.containers.get_mut(&id) {
            container.record.spec.networks.push(endpoint);
            container.state.networks.extend(attachment);
        }
        self.save_record(&id)?;
        if running {
            self.save(&id)?;
        }
        Ok(Some(changed(true)))
    }

    /// Disconnects a container from a network.
    pub fn disconnect(&mut self, ticket: Ticket, target: &Target, network: &str) -> Reply {
        let id = self.id_of(target)?;
        let again = || Op::DisconnectNetwork { container: target.clone(), network: network.to_owned() };
        if self.put_off(&id, ticket, again) {
            return Ok(None);
        }
        let connected = self.containers.get(&id).is_some_and(|c| c.record.spec.networks.iter().any(|e| e.network == network));
        if !connected {
            return Ok(Some(changed(false)));
        }
        let running = self.with_guest(&id, |net, guest| net.disconnect(guest, network))?.is_some();
        if let Some(container) = self.containers.get_mut(&id) {
            container.record.spec.networks.retain(|e| e.network != network);
            container.state.networks.retain(|a| a.network != network);
        }
        self.save_record(&id)?;
        if running {
            self.save(&id)?;
        }
        Ok(Some(changed(true)))
    }

    /// Removes a network. Its bridge is removed at the end, see [`Supervisor::last_act`].
    pub fn dismiss(&mut self, name: &str, id: Option<&str>) -> Result<Applied, EngineError> {
        let removed = self.net()?.dismiss(name, id)?;
        self.watch_net();
        Ok(changed(removed))
    }

    /// What the kernel takes its time for, when nobody waits any more and the next supervisor may begin: namespaces and
    /// bridges go. Were we killed, the next command would do it that looks for such leavings.
    pub fn last_act(mut self) {
        let Some((mut net, _)) = self.net.take().filter(|(net, _)| net.was_needed()) else { return };
        net.rest(None);
        let _ = super::super::net::sweep(&self.places);
    }

    /// Somebody goes on with the project, so there is no end yet: what was left for it is done now.
    pub fn go_on(&mut self) {
        if let Some((net, _)) = &mut self.net {
            net.settle();
        }
    }

    /// Does something to the networks of a running container; none if it doesn't run.
    fn with_guest<T>(
        &mut self,
        id: &str,
        what: impl FnOnce(&mut super::super::net::Net, &Guest<'_>) -> Result<T, EngineError>,
    ) -> Result<Option<T>, EngineError> {
        self.net()?;
        let (Some(container), Some((net, _))) = (self.containers.get(id), &mut self.net) else { return Ok(None) };
        let Some(run) = &container.run else { return Ok(None) };
        let names = super::start::names(&container.record.name, &container.record.spec);
        let guest = Guest { id, names: &names, pidfd: run.pidfd(), pid: run.pid, dns: &container.record.spec.dns };
        let done = what(net, &guest)?;
        self.watch_net();
        Ok(Some(done))
    }
}

//! One op, one call: what changes something.

use super::DockerEngine;
use super::client::{Api, Payload, escape, query, reference_path};
use super::error::Failure;
use super::{create, files, files_as_images, inspect, pull};
use crate::engine::{ProgressSink, hook};
use crate::world::{Applied, ContainerSpec, EndpointSpec, EngineError, NetworkSpec, Op, State, Target, VolumeSpec};
use bollard::models::{NetworkConnectRequest, NetworkDisconnectRequest};
use bollard::query_parameters::{KillContainerOptionsBuilder, RemoveVolumeOptionsBuilder, RenameContainerOptionsBuilder};
use futures::StreamExt;
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::pin::pin;

/// How often a network is tried to be created while others come and go.
const NETWORK_ATTEMPTS: u32 = 10;

/// Something was done.
fn changed() -> Applied {
    Applied { changed: true, ..Applied::default() }
}

/// What an op does, to go behind "can't": `start container p-web-1`.
fn sentence(op: &Op) -> String {
    let (verb, subject) = (op.verb(), op.subject());
    let kind = subject.to_string().split(' ').next().unwrap_or("").to_ascii_lowercase();
    if verb.contains(&kind) { format!("{verb} {}", subject.name) } else { format!("{verb} {kind} {}", subject.name) }
}

/// A result in which some refusals mean that there was nothing to do.
fn settled<T>(result: Result<T, Failure>, nothing_to_do: impl Fn(u16, &str) -> bool) -> Result<Applied, Failure> {
    match result {
        Ok(_) => Ok(changed()),
        Err(Failure::Refused { status, message }) if nothing_to_do(status, &message.to_ascii_lowercase()) => Ok(Applied::default()),
        Err(failure) => Err(failure),
    }
}

fn absent(status: u16, _: &str) -> bool {
    status == 404
}

/// Answer to a create call.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    #[serde(default)]
    id: String,
    #[serde(default, deserialize_with = "super::json::nullable")]
    warnings: Vec<String>,
    #[serde(default)]
    warning: String,
}

impl Created {
    fn applied(self) -> Applied {
        let warnings = self.warnings.into_iter().chain([self.warning]).filter(|w| !w.is_empty()).collect();
        Applied { id: Some(self.id), warnings, changed: true }
    }
}

/// Body of a network's create call: bollard's, and what it lacks.
#[derive(Serialize)]
struct NetworkBody {
    #[serde(flatten)]
    body: bollard::models::NetworkCreateRequest,
    /// Without it, engines before 1.44 make a second network of the same name.
    #[serde(rename = "CheckDuplicate", skip_serializing_if = "std::ops::Not::not")]
    check_duplicate: bool,
}

impl DockerEngine {
    /// Does one thing.
    pub(super) async fn do_op(&self, op: &Op, progress: &ProgressSink) -> Result<Applied, EngineError> {
        let doing = sentence(op);
        let result = match op {
            Op::PullImage { reference, platform } => {
                return match files_as_images::bring(self, reference, platform.as_deref(), progress).await? {
                    Some(applied) => Ok(applied),
                    None => pull::pull(self, reference, platform.as_deref(), progress).await,
                };
            }
            Op::RunHook { container, hook } => return hook::run(self, container, hook).await,
            Op::WriteFiles { container, files } => return files::write(self, container, files).await,
            Op::CreateContainer(spec) => return self.create_container(spec, &doing).await,
            Op::RemoveImage { reference } => match files_as_images::local(reference).await {
                Ok(name) => self.remove_image(&name).await,
                // Nobody knows any more under which name it is here.
                Err(_) => Ok(Applied::default()),
            },
            Op::CreateNetwork(spec) => self.create_network(spec).await,
            Op::RemoveNetwork { name, id } => {
                let result = self.bollard.remove_network(id.as_deref().unwrap_or(name)).await;
                settled(result.map_err(Failure::from), absent)
            }
            Op::ConnectNetwork { container, endpoint } => settled(self.connect_network(container.reference(), endpoint, &[]).await, |_, message| {
                message.contains("already exists in network") || message.contains("is already connected to network")
            }),
            Op::DisconnectNetwork { container, network } => {
                let request = NetworkDisconnectRequest { container: container.reference().to_owned(), force: Some(true) };
                let result = self.bollard.disconnect_network(network, request).await;
                settled(result.map_err(Failure::from), |status, message| status == 404 || message.contains("is not connected to"))
            }
            Op::CreateVolume(spec) => self.create_volume(spec).await,
            Op::RemoveVolume { name } => {
                let result = self.bollard.remove_volume(name, Some(RemoveVolumeOptionsBuilder::default().build())).await;
                settled(result.map_err(Failure::from), absent)
            }
            Op::RenameContainer { container, to } => {
                let options = RenameContainerOptionsBuilder::default().name(to).build();
                let result = self.bollard.rename_container(container.reference(), options).await;
                settled(result.map_err(Failure::from), |_, _| false)
            }
            Op::StartContainer { container } => self.switch(container, "start", None).await,
            Op::StopContainer { container, .. } if self.quirks.stops_what_never_ran && self.never_ran(container).await => Ok(Applied::default()),
            Op::StopContainer { container, timeout } => self.switch(container, "stop", *timeout).await,
            Op::RestartContainer { container, timeout } => self.switch(container, "restart", *timeout).await,
            Op::KillContainer { container, signal } => {
                let options = KillContainerOptionsBuilder::default().signal(signal).build();
                let result = self.bollard.kill_container(container.reference(), Some(options)).await;
                settled(result.map_err(Failure::from), |_, message| message.contains("is not running") || message.contains("can only kill running"))
            }
            Op::PauseContainer { container } => {
                let result = self.bollard.pause_container(container.reference()).await;
                settled(result.map_err(Failure::from), |_, message| message.contains("is already paused") || message.contains("already paused"))
            }
            Op::UnpauseContainer { container } => {
                let result = self.bollard.unpause_container(container.reference()).await;
                settled(result.map_err(Failure::from), |_, message| message.contains("is not paused"))
            }
            Op::RemoveContainer { container, volumes } => self.remove_container(container, *volumes).await,
        };
        if let Op::StartContainer { container }
        | Op::StopContainer { container, .. }
        | Op::RestartContainer { container, .. }
        | Op::KillContainer { container, .. } = op
        {
            // Nobody may be listening.
            let _ = self.switched.send(container.reference().to_owned());
        }
        result.map_err(|failure| failure.explain(&doing))
    }

    /// Start, stop or restart: a status of 304 says that there was nothing to do.
    async fn switch(&self, container: &Target, verb: &str, timeout: Option<i64>) -> Result<Applied, Failure> {
        let path = format!("/containers/{}/{verb}", escape(container.reference()));
        let tail = timeout.map_or_else(|| path.clone(), |t| query(&path, &[("t", &t.to_string())]));
        let reply = self.client.call(Method::POST, &tail, None).await?;
        Ok(Applied { changed: reply.status != StatusCode::NOT_MODIFIED, ..Applied::default() })
    }

    async fn never_ran(&self, container: &Target) -> bool {
        inspect::inspect(self, container).await.is_ok_and(|c| c.state == Some(State::Created))
    }

    async fn create_container(&self, spec: &ContainerSpec, doing: &str) -> Result<Applied, EngineError> {
        let spec = files_as_images::renamed(spec).await?;
        let spec = &*self.mended(&spec, doing).await?;
        let creation = create::container(spec, self.hello.api, self.quirks)?;
        let mut pairs = vec![("name", spec.name.as_str())];
        if let Some(platform) = &spec.platform {
            pairs.push(("platform", platform));
        }
        let tail = query("/containers/create", &pairs);
        let work = async {
            let created: Created = self.client.json(Method::POST, &tail, Some(Payload::json(&creation.body)?)).await?;
            for endpoint in &creation.later {
                if let Err(failure) = self.connect_network(&created.id, endpoint, &spec.external_links).await {
                    // Half a container is worse than none. Its own failure to go adds nothing.
                    let _ = self.remove_container(&Target::existing(&spec.name, &created.id), true).await;
                    return Err(failure);
                }
            }
            Ok(created.applied())
        };
        work.await.map_err(|failure: Failure| {
            let missing_image = failure.status() == Some(404) && failure.to_string().to_ascii_lowercase().contains("no such image");
            let error = failure.explain(doing);
            if missing_image { EngineError { what: format!("there is no image {} here: {}", spec.image, error.what), ..error } } else { error }
        })
    }

    async fn connect_network(&self, container: &str, endpoint: &EndpointSpec, external_links: &[String]) -> Result<(), Failure> {
        let mac = self.quirks.capabilities(self.hello.api).mac_by_network;
        let settings = create::endpoint(endpoint, external_links, mac);
        let request = NetworkConnectRequest { container: container.to_owned(), endpoint_config: Some(settings) };
        Ok(self.bollard.connect_network(&endpoint.network, request).await?)
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<Applied, Failure> {
        let body = NetworkBody { body: create::network(spec), check_duplicate: self.hello.api < Api(1, 44) };
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.client.json::<Created>(Method::POST, "/networks/create", Some(Payload::json(&body)?)).await {
                Ok(created) => return Ok(created.applied()),
                Err(failure) if failure.status() == Some(409) || failure.to_string().contains("already exists") => {
                    return self.same_network(spec, failure).await;
                }
                // Podman looks at all interfaces of the host and gives up when one goes away meanwhile: a container's.
                Err(failure) if failure.to_string().contains("no such network interface") && attempts < NETWORK_ATTEMPTS => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Somebody was quicker. If what they made is what we wanted, that is as good.
    async fn same_network(&self, spec: &NetworkSpec, failure: Failure) -> Result<Applied, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Found {
            id: String,
            #[serde(default, deserialize_with = "super::json::nullable")]
            labels: BTreeMap<String, String>,
        }
        let found: Found = self.client.json(Method::GET, &format!("/networks/{}", escape(&spec.name)), None).await?;
        if found.labels == spec.labels { Ok(Applied { id: Some(found.id), ..Applied::default() }) } else { Err(failure) }
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<Applied, Failure> {
        self.bollard.create_volume(create::volume(spec)).await?;
        Ok(Applied { id: Some(spec.name.clone()), ..changed() })
    }

    async fn remove_image(&self, reference: &str) -> Result<Applied, Failure> {
        let result = self.client.call(Method::DELETE, &format!("/images/{}", reference_path(reference)), None).await;
        settled(result, absent)
    }

    async fn remove_container(&self, container: &Target, volumes: bool) -> Result<Applied, Failure> {
        let reference = escape(container.reference());
        if self.quirks.remove_is_gentle {
            // There, removal by force still waits for the stop signal to be heeded.
            let kill = query(&format!("/containers/{reference}/kill"), &[("signal", "KILL")]);
            let killed = self.client.call(Method::POST, &kill, None).await;
            settled(killed, |_, _| true)?;
        }
        let tail = query(&format!("/containers/{reference}"), &[("force", "1"), ("v", if volumes { "1" } else { "0" })]);
        let result = self.client.call(Method::DELETE, &tail, None).await;
        match result {
            Err(Failure::Refused { status: 409, message }) if message.contains("already in progress") => {
                self.wait_until_gone(&reference).await?;
                Ok(Applied::default())
            }
            other => settled(other, absent),
        }
    }

    /// Waits for the end of a removal that somebody else began.
    async fn wait_until_gone(&self, reference: &str) -> Result<(), Failure> {
        let tail = query(&format!("/containers/{reference}/wait"), &[("condition", "removed")]);
        match self.client.stream(Method::POST, &tail, HeaderMap::new()).await {
            Ok((_, stream)) => {
                let mut stream = pin!(stream);
                while stream.next().await.transpose()?.is_some() {}
                Ok(())
            }
            Err(failure) if failure.status() == Some(404) => Ok(()),
            Err(failure) => Err(failure),
        }
    }
}

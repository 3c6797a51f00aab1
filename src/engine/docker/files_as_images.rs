//! Images that are files or folders (`docker-archive:`, `oci:`, `oci-archive:`, `rootfs:`), for engines that know no such
//! references: they are loaded or imported under a name that says which state of the file it is, so a file that hasn't
//! changed is sent once, and one that has is another image, for which its services are made anew.

use super::DockerEngine;
use super::client::query;
use super::error::Failure;
use crate::engine::embedded::image::Limits;
use crate::engine::embedded::image::elsewhere::Elsewhere;
use crate::engine::{OpProgress, ProgressSink};
use crate::world::{Applied, ContainerSpec, EngineError, ErrorKind, MountKind, Progress, image_path, label};
use bytes::Bytes;
use hyper::Method;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Bytes that are sent at once.
const PIECE: usize = 256 << 10;
/// How often Podman is asked for an image.
const ATTEMPTS: u32 = 10;
/// Pieces on their way.
const PIECES: usize = 8;

/// What a folder that is an image runs, as on the embedded engine.
const COMMAND: &str = r#"CMD ["/bin/sh"]"#;
const PATH: &str = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The name under which the engine has an image: its own, or that of the file's state.
///
/// # Errors
/// A file that can't be read.
pub async fn local(reference: &str) -> Result<Cow<'_, str>, EngineError> {
    Ok(match elsewhere(reference).await? {
        Some(found) => Cow::Owned(found.reference()),
        None => Cow::Borrowed(reference),
    })
}

async fn elsewhere(reference: &str) -> Result<Option<Elsewhere>, EngineError> {
    if image_path(reference).is_none() {
        return Ok(None);
    }
    let reference = reference.to_owned();
    aside(move || Elsewhere::of(&reference)).await
}

async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, EngineError> + Send + 'static) -> Result<T, EngineError> {
    let gone = |e: tokio::task::JoinError| EngineError::new(ErrorKind::Unreachable, "it was given up").because(e.to_string());
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(gone(e)))
}

/// A container with its images named as the engine has them.
///
/// # Errors
/// A file that can't be read.
pub async fn renamed(spec: &ContainerSpec) -> Result<Cow<'_, ContainerSpec>, EngineError> {
    let mut names = BTreeMap::new();
    let mounted = spec.mounts.iter().filter_map(|m| if let MountKind::Image { reference, .. } = &m.kind { Some(reference) } else { None });
    let all: BTreeSet<&String> = std::iter::once(&spec.image).chain(mounted).collect();
    for reference in all {
        if let Cow::Owned(name) = local(reference).await? {
            names.insert(reference.clone(), name);
        }
    }
    if names.is_empty() {
        return Ok(Cow::Borrowed(spec));
    }
    let mut spec = spec.clone();
    let rename = |reference: &mut String| {
        if let Some(name) = names.get(reference) {
            reference.clone_from(name);
        }
    };
    if names.contains_key(&spec.image) {
        spec.labels.insert(label::IMAGE_FILE.into(), spec.image.clone());
    }
    rename(&mut spec.image);
    for mount in &mut spec.mounts {
        if let MountKind::Image { reference, .. } = &mut mount.kind {
            rename(reference);
        }
    }
    Ok(Cow::Owned(spec))
}

/// Brings an image of a file or a folder into the engine; none if the reference is not one.
///
/// # Errors
/// It can't be read, or isn't an image; the engine refuses it.
pub async fn bring(engine: &DockerEngine, reference: &str, platform: Option<&str>, progress: &ProgressSink) -> Result<Option<Applied>, EngineError> {
    let Some(found) = elsewhere(reference).await? else { return Ok(None) };
    let doing = format!("load image {reference}");
    if exists(engine, &found.reference()).await.map_err(|f| f.explain(&doing))? {
        return Ok(Some(Applied::default()));
    }
    let target = if found.is_folder() {
        // Podman takes no tag of its own here.
        let (name, tag) = if engine.is_podman() { (found.reference(), "") } else { (found.repository.clone(), found.tag.as_str()) };
        let mut pairs = vec![("fromSrc", "-"), ("repo", name.as_str()), ("tag", tag), ("changes", COMMAND), ("changes", PATH)];
        pairs.extend(platform.map(|p| ("platform", p)));
        query("/images/create", &pairs)
    } else {
        query("/images/load", &[("quiet", "1")])
    };
    let limits = Limits::of(&engine.environment)?;
    let scratch = engine.environment.get("TMPDIR").filter(|t| !t.is_empty()).map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let (sender, mut pieces) = mpsc::channel::<io::Result<Bytes>>(PIECES);
    let (sent, platform, progress) = (found.clone(), platform.map(str::to_owned), progress.clone());
    let writing = tokio::task::spawn_blocking(move || write(&sent, platform.as_deref(), &limits, &scratch, sender, progress));
    let body = futures::stream::poll_fn(move |cx| pieces.poll_recv(cx));
    let answered = engine.client.upload(&target, body).await;
    // What can't be read explains why the engine was given half of it.
    writing.await.unwrap_or_else(|e| Err(EngineError::new(ErrorKind::Unreachable, "it was given up").because(e.to_string())))?;
    let answer = answered.map_err(|f| f.explain(&doing))?;
    told(&answer).map_err(|f| f.explain(&doing))?;
    if !exists(engine, &found.reference()).await.map_err(|f| f.explain(&doing))? {
        return Err(EngineError::new(ErrorKind::Protocol, format!("can't {doing}")).because(String::from_utf8_lossy(&answer).trim().to_owned()));
    }
    forget_others(engine, &found).await;
    Ok(Some(Applied { changed: true, ..Applied::default() }))
}

async fn exists(engine: &DockerEngine, reference: &str) -> Result<bool, Failure> {
    let tail = format!("/images/{}/json", super::client::reference_path(reference));
    let mut attempts = 0;
    loop {
        attempts += 1;
        match engine.client.call(Method::GET, &tail, None).await {
            Ok(_) => return Ok(true),
            Err(failure) if failure.status() == Some(404) => return Ok(false),
            // Podman loses its way in its list when another image goes meanwhile.
            Err(failure) if failure.to_string().contains("image not known") && attempts < ATTEMPTS => {}
            Err(failure) => return Err(failure),
        }
    }
}

/// Older states of the same file, as far as no container needs them.
async fn forget_others(engine: &DockerEngine, found: &Elsewhere) {
    #[derive(Deserialize)]
    struct Listed {
        #[serde(default, rename = "RepoTags", deserialize_with = "super::json::nullable")]
        names: Vec<String>,
    }
    let filter = super::observe::filters(&[("reference", &[found.repository.as_str()])]);
    let Ok(listed) = engine.client.json::<Vec<Listed>>(Method::GET, &query("/images/json", &[("filters", &filter)]), None).await else { return };
    let begin = format!("{}:", found.repository);
    for name in listed.into_iter().flat_map(|l| l.names).filter(|n| n.starts_with(&begin) && *n != found.reference()) {
        // One that is in use stays until it isn't.
        let _ = engine.client.call(Method::DELETE, &format!("/images/{}", super::client::reference_path(&name)), None).await;
    }
}

/// An error in an answer that began well.
fn told(answer: &[u8]) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(default)]
        error: String,
    }
    let lines = serde_json::Deserializer::from_slice(answer).into_iter::<Line>();
    match lines.map_while(Result::ok).find(|l| !l.error.is_empty()) {
        Some(line) => Err(Failure::Refused { status: 0, message: line.error }),
        None => Ok(()),
    }
}

fn write(
    found: &Elsewhere,
    platform: Option<&str>,
    limits: &Limits,
    scratch: &Path,
    sender: mpsc::Sender<io::Result<Bytes>>,
    progress: ProgressSink,
) -> Result<(), EngineError> {
    let mut pipe = Pipe { sender, buffer: Vec::with_capacity(PIECE), count: 0, progress };
    match found.write(platform, limits, scratch, &mut pipe) {
        // The engine has hung up, and says why.
        _ if pipe.sender.is_closed() => Ok(()),
        Ok(()) => Ok(()),
        Err(error) => {
            // The archive must not seem to be whole.
            let _ = pipe.sender.blocking_send(Err(io::Error::other(error.to_string())));
            Err(error)
        }
    }
}

/// What is written goes to the engine.
struct Pipe {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
    count: u64,
    progress: ProgressSink,
}

impl Pipe {
    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE)));
        self.count += piece.len() as u64;
        let amount = Progress { current: self.count, total: 0 };
        // Nobody waits for whoever reads this: what doesn't fit is dropped.
        let _ = self.progress.try_send(OpProgress { part: String::new(), text: "Loading".into(), progress: Some(amount) });
        self.sender.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

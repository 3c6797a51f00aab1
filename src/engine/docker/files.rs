//! Files written into a container that isn't running: secrets and configs that are no files of the host.

use super::DockerEngine;
use super::client::{Payload, escape, query};
use super::error::Failure;
use crate::world::{Applied, EngineError, ErrorKind, FileSpec, Target};
use hyper::Method;
use std::io::Read;
use std::time::SystemTime;

/// Writes files by one archive. Missing directories are made by the engine, owned by root, mode 0755.
pub async fn write(engine: &DockerEngine, container: &Target, files: &[FileSpec]) -> Result<Applied, EngineError> {
    let doing = format!("write {} into container {}", paths(files), container.name);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let work = async {
        let (mut users, mut groups) = (Names::new("/etc/passwd"), Names::new("/etc/group"));
        let mut archive = tar::Builder::new(Vec::new());
        for file in files {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(file.content.len() as u64);
            header.set_mode(file.mode);
            header.set_mtime(now);
            header.set_uid(users.id(engine, container, &file.uid).await?);
            header.set_gid(groups.id(engine, container, &file.gid).await?);
            let path = file.path.trim_start_matches('/');
            archive.append_data(&mut header, path, file.content.as_slice()).map_err(|e| Failure::garbled("our own archive", &e))?;
        }
        let bytes = archive.into_inner().map_err(|e| Failure::garbled("our own archive", &e))?;
        let path = format!("/containers/{}/archive", escape(container.reference()));
        let copy_owner = [("path", "/"), ("noOverwriteDirNonDir", "false"), ("copyUIDGID", "false")];
        engine.client.call(Method::PUT, &query(&path, &copy_owner), Some(Payload::tar(bytes))).await
    };
    work.await.map_err(|failure| {
        if failure.to_string().contains("read-only") {
            let why = "its root file system is read-only; take the secret or config from a file, or mount something writable there";
            return EngineError::new(ErrorKind::Refused, format!("can't {doing}")).because(why);
        }
        failure.explain(&doing)
    })?;
    Ok(Applied { changed: true, ..Applied::default() })
}

fn paths(files: &[FileSpec]) -> String {
    files.iter().map(|f| f.path.as_str()).collect::<Vec<_>>().join(", ")
}

/// Names of users or groups, as a container's own file has them; read when first needed.
struct Names {
    path: &'static str,
    text: Option<String>,
}

impl Names {
    fn new(path: &'static str) -> Self {
        Self { path, text: None }
    }

    /// The number of an owner: a number is itself, an empty one is root.
    async fn id(&mut self, engine: &DockerEngine, container: &Target, owner: &str) -> Result<u64, Failure> {
        if owner.is_empty() {
            return Ok(0);
        }
        if let Ok(id) = owner.parse() {
            return Ok(id);
        }
        let text = match self.text.take() {
            Some(text) => text,
            None => read(engine, container, self.path).await?,
        };
        let found = text.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(owner)).then(|| fields.nth(1)?.parse().ok())?
        });
        self.text = Some(text);
        found.ok_or_else(|| Failure::Refused { status: 400, message: format!("the container has no `{owner}` in {}", self.path) })
    }
}

/// One file of a container.
async fn read(engine: &DockerEngine, container: &Target, path: &str) -> Result<String, Failure> {
    let tail = query(&format!("/containers/{}/archive", escape(container.reference())), &[("path", path)]);
    let reply = match engine.client.call(Method::GET, &tail, None).await {
        Ok(reply) => reply,
        Err(failure) if failure.status() == Some(404) => return Ok(String::new()),
        Err(failure) => return Err(failure),
    };
    let garbled = |e: std::io::Error| Failure::garbled(path, &e);
    let mut archive = tar::Archive::new(&reply.body[..]);
    let mut text = Vec::new();
    for entry in archive.entries().map_err(garbled)? {
        entry.map_err(garbled)?.read_to_end(&mut text).map_err(garbled)?;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

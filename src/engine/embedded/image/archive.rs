//! Images in files: what `docker save` writes, and the OCI image layout, in a folder or an archive.

use super::config::json;
use super::layer::{self, stream};
use super::manifest::{self, Descriptor, Index};
use super::name::{Name, Platform, Tagged};
use super::store::{ImageRecord, Intake, LayerRecord, Stamp};
use super::{Limits, Report, broken, save, unusable};
use crate::engine::embedded::record;
use crate::world::{EngineError, ErrorKind};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most that a manifest, an index or a configuration may have.
const SMALL: u64 = 4 << 20;

/// Layers that are unpacked at the same time.
const AT_ONCE: usize = 3;

/// Files by their names, in a folder or within an archive.
enum Files {
    Folder(PathBuf),
    /// An archive that isn't packed: where each file is, how long it is, and what links stand for.
    Archive {
        path: PathBuf,
        found: BTreeMap<String, (u64, u64)>,
        links: BTreeMap<String, String>,
        /// What was unpacked, where `path` is only good as long as this is open.
        _plain: Option<File>,
    },
}

/// Where a packed archive is unpacked to.
type Plain<'p> = &'p dyn Fn() -> io::Result<(File, PathBuf)>;

/// A file's content, and how long it is.
type Opened = (Box<dyn Read + Send>, u64);

impl Files {
    /// Those of an archive. What is packed is unpacked first.
    fn of_archive(path: &Path, limits: &Limits, plain: Plain<'_>) -> Result<Self, EngineError> {
        let failed = |e: &io::Error| layer::explain(&format!("{} can't be read", path.display()), e);
        let open = |path: &Path| File::open(path).map_err(|e| failed(&e));
        let mut start = [0; 4];
        let n = open(path)?.read(&mut start).map_err(|e| failed(&e))?;
        let packed = matches!(start.get(..n), Some([0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd]));
        let (kept, path) = if packed {
            let mut reader = stream::decoded(open(path)?, limits).map_err(|e| failed(&e))?.take(limits.size);
            let (mut out, plain) = plain().map_err(|e| failed(&e))?;
            io::copy(&mut reader, &mut out).map_err(|e| failed(&e))?;
            (Some(out), plain)
        } else {
            (None, path.to_owned())
        };
        let (mut found, mut links) = (BTreeMap::new(), BTreeMap::new());
        let mut archive = tar::Archive::new(open(&path)?);
        for entry in archive.entries_with_seek().map_err(|e| failed(&e))? {
            let entry = entry.map_err(|e| failed(&e))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
            if let Some(link) = entry.link_name_bytes() {
                let link = String::from_utf8_lossy(&link).into_owned();
                links.insert(name.clone(), if entry.header().entry_type().is_symlink() { beside(&name, &link) } else { link });
            } else {
                found.insert(name, (entry.raw_file_position(), entry.size()));
            }
            if (found.len() + links.len()) as u64 > limits.entries {
                return Err(unusable(format!("{} has too many entries for an image", path.display())));
            }
        }
        Ok(Self::Archive { path, found, links, _plain: kept })
    }

    /// Opens a file. Length too.
    fn open(&self, name: &str) -> Result<Option<Opened>, EngineError> {
        match self {
            Self::Folder(folder) => {
                if !Path::new(name).components().all(|c| matches!(c, Component::Normal(_))) {
                    return Err(broken(format!("{name} doesn't lie in it")));
                }
                let file = folder.join(name);
                match File::open(&file).and_then(|f| f.metadata().map(|m| (f, m.len()))) {
                    Ok((file, length)) => Ok(Some((Box::new(file), length))),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(record::failed(&format!("{} can't be read", file.display()), &error)),
                }
            }
            Self::Archive { path, found, links, .. } => {
                let mut name = name;
                // Old archives have links to what is there already; a few steps at most.
                for _ in 0..8 {
                    name = links.get(name).map_or(name, String::as_str);
                }
                let Some((offset, length)) = found.get(name) else { return Ok(None) };
                let failed = |e: io::Error| record::failed(&format!("{} can't be read", path.display()), &e);
                let mut file = File::open(path).map_err(failed)?;
                file.seek(SeekFrom::Start(*offset)).map_err(failed)?;
                Ok(Some((Box::new(file.take(*length)), *length)))
            }
        }
    }

    /// The content of a small file.
    fn small(&self, name: &str) -> Result<Option<Vec<u8>>, EngineError> {
        let Some((reader, length)) = self.open(name)? else { return Ok(None) };
        if length > SMALL {
            return Err(broken(format!("{name} has {length} bytes, and {SMALL} are allowed")));
        }
        let mut bytes = Vec::new();
        reader.take(SMALL).read_to_end(&mut bytes).map_err(|e| layer::explain(&format!("{name} can't be read"), &e))?;
        Ok(Some(bytes))
    }

    /// A small file that has to be there.
    fn needed(&self, name: &str) -> Result<Vec<u8>, EngineError> {
        self.small(name)?.ok_or_else(|| broken(format!("there is no {name} in it")))
    }

    /// A small blob of an image layout, checked.
    fn blob(&self, digest: &str) -> Result<Vec<u8>, EngineError> {
        let bytes = self.needed(&blob_path(digest)?)?;
        let found = stream::digest_of(&bytes);
        if found == digest { Ok(bytes) } else { Err(broken(format!("the content of {digest} is that of {found}"))) }
    }
}

/// Where a link leads that lies beside a file.
fn beside(name: &str, link: &str) -> String {
    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|p| !p.is_empty()).collect();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn blob_path(digest: &str) -> Result<String, EngineError> {
    match digest.strip_prefix("sha256:") {
        Some(hex) if super::name::is_hex(hex) => Ok(format!("blobs/sha256/{hex}")),
        _ => Err(unusable(format!("`{digest}` is no digest that is known: only sha256 is"))),
    }
}

/// An image of `manifest.json` (Moby, "docker-image v1.2").
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// An image that was found in a file, not yet unpacked.
struct Found {
    names: Vec<String>,
    config: Vec<u8>,
    layers: Vec<String>,
    /// Digest of its manifest, if it has one.
    digest: String,
}

/// Loads the image of a reference to a file, and gives it the name that is the reference.
///
/// # Errors
/// It can't be read; it has no such image, or several and none is named.
pub fn load_one(intake: &Intake, name: &Name, platform: &Platform, report: &Report) -> Result<ImageRecord, EngineError> {
    let scratch = intake.scratch()?;
    let (path, wanted) = match name {
        Name::DockerArchive(path, wanted) | Name::OciDirectory(path, wanted) | Name::OciArchive(path, wanted) => (path, wanted.as_deref()),
        Name::Registry(_) | Name::Directory(_) => return Err(unusable(format!("{name} is no file"))),
    };
    let stamp = Stamp::of(path).map_err(|e| record::failed(&format!("{} can't be read", path.display()), &e))?;
    let (files, image) = choose(name, path, wanted, platform, intake.limits(), &|| in_folder(scratch.path()))?;
    let within = |e: EngineError| EngineError { what: format!("{}: {}", path.display(), e.what), ..e };
    let record = take(intake, &files, &image, report).map_err(within)?;
    intake.name(&name.to_string(), &record, &image.digest, Some(stamp))?;
    Ok(record)
}

fn in_folder(scratch: &Path) -> io::Result<(File, PathBuf)> {
    let path = scratch.join("archive");
    Ok((File::create(&path)?, path))
}

/// The image that is meant in a file.
fn choose(
    name: &Name,
    path: &Path,
    wanted: Option<&str>,
    platform: &Platform,
    limits: &Limits,
    plain: Plain<'_>,
) -> Result<(Files, Found), EngineError> {
    let images = match name {
        Name::OciDirectory(..) => layout(&Files::Folder(path.to_owned()), Some(platform)).map(|f| (Files::Folder(path.to_owned()), f)),
        Name::OciArchive(..) => Files::of_archive(path, limits, plain).and_then(|files| layout(&files, Some(platform)).map(|found| (files, found))),
        _ => Files::of_archive(path, limits, plain).and_then(|files| saved(&files).map(|found| (files, found))),
    };
    let within = |e: EngineError| EngineError { what: format!("{}: {}", path.display(), e.what), ..e };
    let (files, mut found) = images.map_err(within)?;
    let known = found.iter().flat_map(|f| f.names.clone()).collect::<Vec<_>>().join(", ");
    if let Some(wanted) = wanted {
        let full = |text: &str| Tagged::parse(text).map_or_else(|_| text.to_owned(), |t| t.to_string());
        found.retain(|f| f.names.iter().any(|n| n == wanted || full(n) == full(wanted) || n.rsplit_once(':').is_some_and(|(_, tag)| tag == wanted)));
    }
    match (found.len(), found.pop()) {
        (1, Some(image)) => Ok((files, image)),
        (0, _) => Err(EngineError::new(ErrorKind::NotFound, format!("there is no image {} in {}", wanted.unwrap_or_default(), path.display()))
            .because(if known.is_empty() { "none in it has a name".to_owned() } else { format!("it has {known}") })),
        (many, _) => Err(unusable(format!("there are {many} images in {}", path.display())).because(format!("say which, after a colon: {known}"))),
    }
}

/// Loads all images of a file, as `docker load` does, with the names that they have there. Returns what was loaded: names,
/// or ids of those that have none.
///
/// # Errors
/// It can't be read.
pub fn load_all(intake: &Intake, path: &Path, report: &Report) -> Result<Vec<String>, EngineError> {
    let scratch = intake.scratch()?;
    let within = |e: EngineError| EngineError { what: format!("{}: {}", path.display(), e.what), ..e };
    let files = if path.is_dir() { Files::Folder(path.to_owned()) } else { Files::of_archive(path, intake.limits(), &|| in_folder(scratch.path()))? };
    let found = if files.open("manifest.json")?.is_some() { saved(&files) } else { layout(&files, None) }.map_err(within)?;
    let mut loaded = Vec::new();
    for image in &found {
        let record = take(intake, &files, image, report).map_err(within)?;
        // A layout names its images in full or by their tag alone, which names nothing here.
        let names: Vec<Tagged> = image.names.iter().filter(|n| n.contains([':', '/'])).filter_map(|n| Tagged::parse(n).ok()).collect();
        for name in &names {
            intake.name(&name.to_string(), &record, &image.digest, None)?;
        }
        if names.is_empty() {
            loaded.push(record.id);
        } else {
            loaded.extend(names.iter().map(|n| format!("{}:{}", n.familiar(), n.tag().unwrap_or_default())));
        }
    }
    Ok(loaded)
}

/// Images of what `docker save` wrote.
fn saved(files: &Files) -> Result<Vec<Found>, EngineError> {
    let Some(manifest) = files.small("manifest.json")? else {
        return Err(broken("there is no manifest.json in it: `docker save` didn't write it, or long ago".to_owned()));
    };
    let all: Vec<Saved> = json("manifest.json", &manifest)?;
    let found = |s: Saved| {
        let config = files.needed(&s.config)?;
        // Its name is its digest, with `.json` or without.
        let digest = stream::digest_of(&config);
        let named = s.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
        if super::name::is_hex(named) && digest.strip_prefix("sha256:") != Some(named) {
            return Err(broken(format!("the content of {} is that of {digest}", s.config)));
        }
        Ok(Found { names: s.repo_tags.unwrap_or_default(), config, layers: s.layers.unwrap_or_default(), digest: String::new() })
    };
    all.into_iter().map(found).collect()
}

/// Images of an image layout (OCI image specification, "Image Layout").
fn layout(files: &Files, platform: Option<&Platform>) -> Result<Vec<Found>, EngineError> {
    let index: Index = json("index.json", &files.needed("index.json")?)?;
    let host = Platform::host();
    let mut found: Vec<Found> = Vec::new();
    for descriptor in index.manifests.iter().filter(|d| !d.is_attestation()) {
        let names = descriptor.names();
        let manifest = resolve(files, descriptor, platform.unwrap_or(&host))?;
        let bytes = files.blob(&manifest.digest)?;
        let read = manifest::read(&bytes)?;
        let image = Found {
            names,
            config: files.blob(&read.config.digest)?,
            layers: read.layers.iter().map(|l| blob_path(&l.digest)).collect::<Result<_, _>>()?,
            digest: descriptor.digest.clone(),
        };
        // One image under several names has several entries.
        match found.iter_mut().find(|f| f.digest == image.digest) {
            Some(known) => known.names.extend(image.names),
            None => found.push(image),
        }
    }
    Ok(found)
}

/// The manifest for a platform, through as many indexes as there are.
fn resolve(files: &Files, descriptor: &Descriptor, platform: &Platform) -> Result<Descriptor, EngineError> {
    let mut current = descriptor.clone();
    for _ in 0..4 {
        if !current.is_index() {
            return Ok(current);
        }
        let index: Index = json("an index", &files.blob(&current.digest)?)?;
        current = index.choose(platform)?.clone();
    }
    Err(broken("its indexes lead from one to the next".to_owned()))
}

/// Brings an image in.
fn take(intake: &Intake, files: &Files, image: &Found, report: &Report) -> Result<ImageRecord, EngineError> {
    let (_, diff_ids) = super::config::read(&image.config)?;
    if diff_ids.len() != image.layers.len() {
        return Err(broken(format!("its configuration has {} layers, its manifest {}", diff_ids.len(), image.layers.len())));
    }
    let jobs: Vec<(&String, &String)> = diff_ids.iter().zip(&image.layers).collect();
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(jobs.len()) {
            scope.spawn(|| {
                while let Some((diff_id, file)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = layer_of(intake, files, diff_id, file, report) {
                        next.store(jobs.len(), Ordering::Relaxed);
                        failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
                    }
                }
            });
        }
    });
    match failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(error) => Err(error),
        None => intake.image(&image.config),
    }
}

fn layer_of(intake: &Intake, files: &Files, diff_id: &str, file: &str, report: &Report) -> Result<LayerRecord, EngineError> {
    if let Some(known) = intake.store().layer_record(diff_id) {
        report.word(diff_id, "Already exists");
        return Ok(known);
    }
    let (reader, length) = files.open(file)?.ok_or_else(|| broken(format!("there is no {file} in it")))?;
    let layer = intake.layer(report.reader(diff_id, "Extracting", reader, length), Some(diff_id))?;
    report.word(diff_id, "Load complete");
    Ok(layer.1)
}

/// An image in a file, on its way to an engine that keeps images itself.
pub struct Parcel {
    files: Files,
    image: Found,
}

impl Parcel {
    /// Opens the image of a reference to a file. What is packed is unpacked into a file without a name below `scratch`.
    ///
    /// # Errors
    /// As [`load_one`].
    pub fn open(name: &Name, platform: &Platform, limits: &Limits, scratch: &Path) -> Result<Self, EngineError> {
        let (path, wanted) = match name {
            Name::DockerArchive(path, wanted) | Name::OciDirectory(path, wanted) | Name::OciArchive(path, wanted) => (path, wanted.as_deref()),
            Name::Registry(_) | Name::Directory(_) => return Err(unusable(format!("{name} is no file"))),
        };
        let plain = || {
            use rustix::fs::{Mode, OFlags};
            let file: File = rustix::fs::open(scratch, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?.into();
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
            Ok((file, PathBuf::from(path)))
        };
        if let Err(error) = std::fs::metadata(path) {
            return Err(record::failed(&format!("{} can't be read", path.display()), &error));
        }
        let (files, image) = choose(name, path, wanted, platform, limits, &plain)?;
        Ok(Self { files, image })
    }

    /// Writes it as `docker save` would, under another name. Layers stay packed as they are.
    ///
    /// # Errors
    /// It can't be read; `out` can't be written.
    pub fn write(&self, name: &str, out: &mut dyn io::Write) -> Result<(), EngineError> {
        let failed = |e: io::Error| record::failed("the image can't be sent", &e);
        let digest = stream::digest_of(&self.image.config);
        let config = format!("{}.json", digest.trim_start_matches("sha256:"));
        save::file(out, &config, &self.image.config).map_err(failed)?;
        let mut written = BTreeMap::new();
        for layer in &self.image.layers {
            let number = written.len();
            if written.contains_key(layer) {
                continue;
            }
            let (mut content, length) = self.files.open(layer)?.ok_or_else(|| broken(format!("there is no {layer} in it")))?;
            let place = format!("{number}/layer.tar");
            out.write_all(save::header(&place, length).as_bytes()).map_err(failed)?;
            let copied = io::copy(&mut content, out).map_err(failed)?;
            if copied != length {
                return Err(broken(format!("{layer} ends before its end")));
            }
            save::padding(out, length).map_err(failed)?;
            written.insert(layer.clone(), place);
        }
        let layers: Vec<&String> = self.image.layers.iter().filter_map(|l| written.get(l)).collect();
        let manifest = serde_json::json!([{ "Config": config, "RepoTags": [name], "Layers": layers }]);
        save::file(out, "manifest.json", manifest.to_string().as_bytes()).map_err(failed)?;
        out.write_all(&[0; 1024]).and_then(|()| out.flush()).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_old_archives_lead_beside() {
        assert_eq!(beside("a/layer.tar", "../b/layer.tar"), "b/layer.tar");
        assert_eq!(beside("layer.tar", "../../../x"), "x");
    }
}

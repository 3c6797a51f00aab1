//! Out of the store: archives that `docker load` and every tool for image layouts take.

use super::config::json;
use super::layer::{pack, recipe, stream};
use super::manifest::{Descriptor, Index, Manifest};
use super::name::{Name, Version};
use super::store::Intake;
use super::{Limits, Store, broken, unusable};
use crate::engine::embedded::record;
use crate::world::{EngineError, ErrorKind};
use serde_json::{Value, json as value};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use tar::{EntryType, Header};

/// Where the archive of a layer comes from.
enum Source {
    /// From its recipe.
    Recipe,
    /// From a file: what it was can't be made again, and this is its like.
    File(PathBuf),
}

/// An image on its way out.
struct Leaving {
    config: Vec<u8>,
    names: BTreeSet<String>,
    /// Digest (the diff id: they aren't packed), bytes and place of each layer, the lowest first.
    layers: Vec<(String, u64, String, Source)>,
}

impl Store {
    /// Writes images into one archive, which is both what `docker save` writes and an image layout. Layers are as they came,
    /// bit by bit, so that the images keep their ids; only one whose archive had a file twice gets another.
    ///
    /// # Errors
    /// There is no such image; a layer is not what it was; `out` can't be written.
    pub fn save(&self, references: &[&str], out: &mut dyn Write) -> Result<(), EngineError> {
        // Nothing is collected meanwhile.
        let intake = Intake::new(self, Limits::default())?;
        let scratch = intake.scratch()?;
        let mut leaving: BTreeMap<String, Leaving> = BTreeMap::new();
        for reference in references {
            let absent = || EngineError::new(ErrorKind::NotFound, format!("there is no image {reference}"));
            let image = self.find(reference, None)?.and_then(|i| self.image_record(&i.id).transpose()).ok_or_else(absent)??;
            if image.folder.is_some() {
                return Err(unusable(format!("{reference} is a folder")).because("import it first"));
            }
            let name = match Name::parse(reference) {
                Ok(Name::Registry(tagged)) if self.name_file(&tagged.to_string()).exists() => match &tagged.version {
                    Version::Tag(tag) => Some(format!("{}:{tag}", tagged.familiar())),
                    Version::Digest(_) => None,
                },
                Ok(Name::DockerArchive(_, part) | Name::OciArchive(_, part) | Name::OciDirectory(_, part)) => part,
                _ => None,
            };
            if let Some(known) = leaving.get_mut(&image.id) {
                known.names.extend(name);
                continue;
            }
            let mut config = std::fs::read(self.blob_file(&image.id))
                .map_err(|e| record::failed(&format!("the configuration of {reference} can't be read"), &e))?;
            let mut layers = Vec::new();
            for layer in &image.layers {
                let about = self.layer_record(layer).ok_or_else(|| broken(format!("layer {layer} of {reference} is not here")))?;
                if about.repeatable {
                    layers.push((format!("sha256:{layer}"), about.archive, layer.clone(), Source::Recipe));
                    continue;
                }
                let file = scratch.path().join(layer);
                let failed = |e: io::Error| record::failed(&format!("layer {layer} can't be packed"), &e);
                pack(&self.layer_folder(layer).join("fs"), true, &mut io::BufWriter::new(File::create(&file).map_err(failed)?)).map_err(failed)?;
                let mut hashed = stream::Hashed::new(File::open(&file).map_err(failed)?);
                io::copy(&mut hashed, &mut io::sink()).map_err(failed)?;
                let (digest, size) = hashed.finish();
                config = other_layer(&config, layer, &digest)?;
                layers.push((digest, size, layer.clone(), Source::File(file)));
            }
            leaving.insert(image.id.clone(), Leaving { config, names: name.into_iter().collect(), layers });
        }
        self.write(leaving.into_values().collect(), out)
    }

    fn write(&self, images: Vec<Leaving>, out: &mut dyn Write) -> Result<(), EngineError> {
        let failed = |e: io::Error| record::failed("the archive can't be written", &e);
        let mut written: BTreeSet<String> = BTreeSet::new();
        let mut index = Index { schema_version: 2, media_type: "application/vnd.oci.image.index.v1+json".to_owned(), manifests: Vec::new() };
        let mut saved = Vec::new();
        file(out, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#).map_err(failed)?;
        for image in images {
            let config = stream::digest_of(&image.config);
            let mut manifest = Manifest {
                schema_version: 2,
                media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
                config: blob("application/vnd.oci.image.config.v1+json", &config, image.config.len() as u64),
                layers: Vec::new(),
            };
            for (digest, size, layer, source) in &image.layers {
                manifest.layers.push(blob("application/vnd.oci.image.layer.v1.tar", digest, *size));
                if written.insert(digest.clone()) {
                    self.layer_out(digest, *size, layer, source, out)?;
                }
            }
            let bytes = serde_json::to_vec(&manifest).map_err(|e| broken(e.to_string()))?;
            let digest = stream::digest_of(&bytes);
            for (digest, bytes) in [(&config, &image.config), (&digest, &bytes)] {
                if written.insert(digest.clone()) {
                    file(out, &path(digest), bytes).map_err(failed)?;
                }
            }
            let unnamed = blob(&manifest.media_type, &digest, bytes.len() as u64);
            let named = |name: &String| {
                let tag = name.rsplit_once(':').map_or(name.as_str(), |(_, tag)| tag);
                let full = super::Tagged::parse(name).map_or_else(|_| name.clone(), |t| t.to_string());
                let notes = [("io.containerd.image.name", full), ("org.opencontainers.image.ref.name", tag.to_owned())];
                Descriptor { annotations: Some(notes.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()), ..unnamed.clone() }
            };
            index.manifests.extend(image.names.iter().map(named));
            if image.names.is_empty() {
                index.manifests.push(unnamed.clone());
            }
            saved.push(value!({
                "Config": path(&config),
                "RepoTags": image.names,
                "Layers": image.layers.iter().map(|(digest, ..)| path(digest)).collect::<Vec<_>>(),
            }));
        }
        let index = serde_json::to_vec(&index).map_err(|e| broken(e.to_string()))?;
        file(out, "index.json", &index).map_err(failed)?;
        file(out, "manifest.json", Value::Array(saved).to_string().as_bytes()).map_err(failed)?;
        out.write_all(&[0; 1024]).and_then(|()| out.flush()).map_err(failed)
    }

    fn layer_out(&self, digest: &str, size: u64, layer: &str, source: &Source, out: &mut dyn Write) -> Result<(), EngineError> {
        let failed = |e: io::Error| record::failed(&format!("layer {layer} can't be written"), &e);
        out.write_all(header(&path(digest), size).as_bytes()).map_err(failed)?;
        let mut hashing = Hashing { out, hash: Sha256::new(), count: 0 };
        match source {
            Source::Recipe => {
                let folder = self.layer_folder(layer);
                recipe::replay(&folder.join("recipe.gz"), &folder.join("fs"), &mut hashing).map_err(failed)?;
            }
            Source::File(file) => drop(io::copy(&mut File::open(file).map_err(failed)?.take(size), &mut hashing).map_err(failed)?),
        }
        let (found, count) = (stream::digest(hashing.hash), hashing.count);
        if found != digest || count != size {
            return Err(broken(format!("layer {layer} in the image store is not what it was")).because("remove its images and pull them again"));
        }
        padding(out, size).map_err(failed)
    }
}

/// A writer whose bytes are counted and hashed.
struct Hashing<'o> {
    out: &'o mut dyn Write,
    hash: Sha256,
    count: u64,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hash.update(bytes.get(..n).unwrap_or_default());
        self.count += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A configuration with one diff id in place of another.
fn other_layer(config: &[u8], old: &str, new: &str) -> Result<Vec<u8>, EngineError> {
    let mut config: Value = json("the configuration of the image", config)?;
    if let Some(ids) = config.pointer_mut("/rootfs/diff_ids").and_then(Value::as_array_mut) {
        for id in ids.iter_mut().filter(|id| id.as_str().is_some_and(|id| id.trim_start_matches("sha256:") == old)) {
            *id = Value::String(new.to_owned());
        }
    }
    Ok(config.to_string().into_bytes())
}

fn blob(media_type: &str, digest: &str, size: u64) -> Descriptor {
    Descriptor { media_type: media_type.to_owned(), digest: digest.to_owned(), size, ..Descriptor::default() }
}

fn path(digest: &str) -> String {
    format!("blobs/sha256/{}", digest.trim_start_matches("sha256:"))
}

/// The header of a file in the archive. Nothing in it depends on the time: the same images make the same archive.
pub fn header(name: &str, size: u64) -> Header {
    let mut header = Header::new_gnu();
    if let Some(field) = header.as_old_mut().name.get_mut(..name.len()) {
        field.copy_from_slice(name.as_bytes());
    }
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    header
}

pub fn file(out: &mut dyn Write, name: &str, content: &[u8]) -> io::Result<()> {
    out.write_all(header(name, content.len() as u64).as_bytes())?;
    out.write_all(content)?;
    padding(out, content.len() as u64)
}

pub fn padding(out: &mut dyn Write, size: u64) -> io::Result<()> {
    let missing = usize::try_from(size.wrapping_neg() % 512).unwrap_or(0);
    out.write_all([0; 512].get(..missing).unwrap_or_default())
}

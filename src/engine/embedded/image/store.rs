//! The folders of the store, and how things come into them whole.

use super::layer::{self, Limits, stream};
use super::name::{Platform, is_hex};
use super::{Image, ImageConfig, Store};
use crate::engine::embedded::{place, record};
use crate::units::Timestamp;
use crate::world::{EngineError, ErrorKind};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// An image as it is kept: `images/HEX.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// `sha256:…`.
    pub id: String,
    /// What it says of its containers.
    pub config: ImageConfig,
    /// Diff ids of its layers without `sha256:`, the lowest first.
    pub layers: Vec<String>,
    /// How many of them, from the lowest, are hidden by one above.
    #[serde(default)]
    pub hidden: usize,
    /// For which machines it is.
    pub platform: Platform,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Bytes of all layers, unpacked.
    pub size: u64,
    /// The folder that it is (`rootfs:`), instead of layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
}

/// A name: `refs/…`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NameRecord {
    /// In full.
    pub name: String,
    /// Images by platform.
    pub images: BTreeMap<String, NamedImage>,
    /// The file that it was taken from, as it was then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Stamp>,
}

/// An image that has a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedImage {
    /// `sha256:…`.
    pub id: String,
    /// When it got the name.
    pub tagged: Timestamp,
    /// Digest of the manifest or index that the registry has under this name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
}

/// By which a file that has changed is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    /// Of a file; of an image layout it is that of its index.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut about = std::fs::metadata(path)?;
        if about.is_dir() {
            about = std::fs::metadata(path.join("index.json"))?;
        }
        Ok(Self { device: about.dev(), inode: about.ino(), size: about.size(), changed: (about.mtime(), about.mtime_nsec()) })
    }
}

/// A layer as it is kept: `layers/HEX/layer.json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Bytes of its files.
    pub size: u64,
    /// Bytes of its archive.
    pub archive: u64,
    /// Its recipe makes the same archive again.
    pub repeatable: bool,
    /// Nothing of the layers below is seen.
    pub opaque: bool,
}

impl Store {
    pub(super) fn blob_file(&self, digest: &str) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }

    pub(super) fn layer_folder(&self, diff_id: &str) -> PathBuf {
        self.root.join("layers").join(diff_id.trim_start_matches("sha256:"))
    }

    pub(super) fn image_file(&self, id: &str) -> PathBuf {
        self.root.join("images").join(format!("{}.json", id.trim_start_matches("sha256:")))
    }

    pub(super) fn names(&self) -> PathBuf {
        self.root.join("refs")
    }

    /// The file of a name: names have no `+`, files no `/`.
    pub(super) fn name_file(&self, name: &str) -> PathBuf {
        let plain = name.replace('/', "+");
        self.names().join(if plain.len() <= 200 { plain } else { stream::digest_of(name.as_bytes()) })
    }

    pub(super) fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Makes the folders. What is in them is not for other users: devices and programs with privileges.
    pub(super) fn make(&self) -> Result<(), EngineError> {
        // Whoever finds the last of them finds all.
        if self.temporary().is_dir() {
            return Ok(());
        }
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        for folder in ["", "blobs/sha256", "layers", "images", "refs", "tmp"] {
            let folder = self.root.join(folder);
            builder.create(&folder).map_err(|e| record::failed(&format!("{} can't be made", folder.display()), &e))?;
        }
        Ok(())
    }

    /// The record of an image.
    pub(super) fn image_record(&self, id: &str) -> Result<Option<ImageRecord>, EngineError> {
        if is_hex(id.trim_start_matches("sha256:")) { record::read(&self.image_file(id)) } else { Ok(None) }
    }

    /// The record of a layer that is here, whole.
    pub(super) fn layer_record(&self, diff_id: &str) -> Option<LayerRecord> {
        record::read(&self.layer_folder(diff_id).join("layer.json")).ok().flatten()
    }

    /// An image, if all of it is here.
    pub(super) fn image(&self, found: ImageRecord, tagged: Option<Timestamp>) -> Option<Image> {
        let layers = match &found.folder {
            Some(folder) => vec![folder.clone()],
            None => found.layers.iter().skip(found.hidden).map(|l| self.layer_folder(l).join("fs")).collect(),
        };
        layers.iter().all(|l| l.is_dir()).then_some(Image { id: found.id, config: found.config, layers, tagged })
    }

    /// Changes the record of a name, alone among all processes. An empty one is removed.
    pub(super) fn change_name<T>(&self, name: &str, change: impl FnOnce(&mut NameRecord) -> T) -> Result<T, EngineError> {
        let folder = self.names();
        let failed = |e: io::Error| record::failed(&format!("the name {name} can't be written"), &e);
        let lock = rustix::fs::open(&folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(|e| failed(e.into()))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|e| failed(e.into()))?;
        let file = self.name_file(name);
        let mut current: NameRecord = record::read(&file)?.unwrap_or_default();
        let before = current.clone();
        name.clone_into(&mut current.name);
        let answer = change(&mut current);
        if current.images.is_empty() {
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        } else if current != before {
            record::write_durably(&file, &current)?;
        }
        Ok(answer)
    }

    /// All names.
    pub(super) fn all_names(&self) -> Result<Vec<NameRecord>, EngineError> {
        self.records(&self.names())
    }

    /// All images.
    pub(super) fn all_images(&self) -> Result<Vec<ImageRecord>, EngineError> {
        self.records(&self.root.join("images"))
    }

    fn records<T: serde::de::DeserializeOwned>(&self, folder: &Path) -> Result<Vec<T>, EngineError> {
        let mut all = Vec::new();
        for file in children(folder).map_err(|e| record::failed(&format!("{} can't be read", folder.display()), &e))? {
            // One that is being written is nobody's yet.
            if file.extension().is_some_and(|e| e == "new") {
                continue;
            }
            all.extend(record::read(&file)?);
        }
        Ok(all)
    }
}

/// What is in a folder, sorted; nothing if there is no such folder.
pub fn children(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|e| e.map(|e| e.path())).collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    all.sort();
    Ok(all)
}

/// Time of day.
pub fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(now.as_nanos()).unwrap_or(i64::MAX))
}

/// A folder for what isn't whole yet. It goes when this is dropped, and when another one finds that its owner is dead.
#[derive(Debug)]
pub struct Temporary {
    path: PathBuf,
    /// Locked while we live.
    _lock: OwnedFd,
}

impl Temporary {
    /// A new one in `folder`.
    pub fn new(folder: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let path = folder.join(format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                other => other?,
            }
            // Until it is locked it looks like a dead one's, and may be removed.
            match lock(&path, FlockOperation::NonBlockingLockExclusive) {
                Ok(lock) if rustix::fs::fstat(&lock)?.st_nlink > 0 => return Ok(Self { path, _lock: lock }),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::WouldBlock) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What remains is found by the next one.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Opens and locks a file or folder.
pub fn lock(path: &Path, how: FlockOperation) -> io::Result<OwnedFd> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    loop {
        match flock(&file, how) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map(|()| file).map_err(io::Error::from),
        }
    }
}

/// Removes what dead processes have left behind.
pub fn remove_stale(folder: &Path) {
    for path in children(folder).unwrap_or_default() {
        if let Ok(_lock) = lock(&path, FlockOperation::NonBlockingLockExclusive) {
            let _ = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        }
    }
}

/// Brings images in. As long as it lives nothing is collected.
#[derive(Debug)]
pub struct Intake {
    store: Store,
    limits: Limits,
    temporary: Temporary,
    _shared: OwnedFd,
}

impl Intake {
    /// Waits while a collection is under way.
    ///
    /// # Errors
    /// The store can't be written.
    pub fn new(store: &Store, limits: Limits) -> Result<Self, EngineError> {
        store.make()?;
        let failed = |e: io::Error| record::failed("the image store can't be written", &e);
        // Not the folder of the temporaries: what is locked there is taken for one.
        let shared = lock(&store.root, FlockOperation::LockShared).map_err(failed)?;
        remove_stale(&store.temporary());
        let temporary = Temporary::new(&store.temporary()).map_err(failed)?;
        Ok(Self { store: store.clone(), limits, temporary, _shared: shared })
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Limits of layers.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A folder of one's own, gone when the intake is.
    pub fn scratch(&self) -> Result<Temporary, EngineError> {
        Temporary::new(&self.store.temporary()).map_err(|e| record::failed("the image store can't be written", &e))
    }

    /// Keeps a manifest or a configuration. Returns its digest.
    pub fn blob(&self, bytes: &[u8]) -> Result<String, EngineError> {
        let digest = stream::digest_of(bytes);
        let file = self.store.blob_file(&digest);
        if !file.exists() {
            let beside = self.temporary.path().join(digest.trim_start_matches("sha256:"));
            place::replace_durably(&beside, bytes)
                .and_then(|()| std::fs::rename(&beside, &file))
                .map_err(|e| record::failed("an image can't be kept", &e))?;
        }
        Ok(digest)
    }

    /// Unpacks a layer: any archive, packed or not. With a diff id it must be that one. Returns its diff id.
    pub fn layer(&self, archive: impl Read, wanted: Option<&str>) -> Result<(String, LayerRecord), EngineError> {
        let failed = |e: io::Error| record::failed("a layer can't be kept", &e);
        let temporary = self.scratch()?;
        let (fs, recipe) = (temporary.path().join("fs"), temporary.path().join("recipe.gz"));
        std::fs::create_dir(&fs).map_err(failed)?;
        std::fs::set_permissions(&fs, std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
        let plain = stream::decoded(archive, &self.limits).map_err(|e| layer::explain("a layer can't be read", &e))?;
        let mut hashed = stream::Hashed::new(plain);
        let buffered = io::BufReader::with_capacity(stream::CHUNK, &mut hashed);
        let unpacked = layer::unpack(buffered, &fs, Some(File::create(&recipe).map_err(failed)?), &self.limits)?;
        let (diff_id, archive) = hashed.finish();
        if wanted.is_some_and(|w| w != diff_id) {
            return Err(EngineError::new(ErrorKind::Protocol, "a layer is not what the image says")
                .because(format!("it should have diff id {}, and has {diff_id}", wanted.unwrap_or_default())));
        }
        if !unpacked.repeatable {
            std::fs::remove_file(&recipe).map_err(failed)?;
        }
        let about = LayerRecord { size: unpacked.size, archive, repeatable: unpacked.repeatable, opaque: unpacked.opaque };
        record::write(&temporary.path().join("layer.json"), &about)?;
        // Before it is seen: after a power cut a layer is whole or absent. One call for all of its files, and what others
        // have written meanwhile; a call for each file would wait for the disk as often.
        File::open(temporary.path()).and_then(|folder| Ok(rustix::fs::syncfs(&folder)?)).map_err(failed)?;
        let folder = self.store.layer_folder(&diff_id);
        match std::fs::rename(temporary.path(), &folder) {
            Ok(()) => Ok((diff_id, about)),
            // Another one was faster.
            Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => Ok((diff_id, about)),
            Err(error) => Err(failed(error)),
        }
    }

    /// Keeps an image whose layers are here. Its configuration is that of the OCI image specification.
    pub fn image(&self, config: &[u8]) -> Result<ImageRecord, EngineError> {
        let (mut image, layers) = super::config::read(config)?;
        image.id = self.blob(config)?;
        for diff_id in layers {
            let layer = self.store.layer_record(&diff_id);
            let layer = layer.ok_or_else(|| EngineError::new(ErrorKind::Protocol, format!("layer {diff_id} is not here")))?;
            if layer.opaque {
                image.hidden = image.layers.len();
            }
            image.size += layer.size;
            image.layers.push(diff_id.trim_start_matches("sha256:").to_owned());
        }
        self.keep(&image)?;
        Ok(image)
    }

    /// Keeps the record of an image.
    pub fn keep(&self, image: &ImageRecord) -> Result<(), EngineError> {
        record::write_durably(&self.store.image_file(&image.id), image)
    }

    /// Gives an image a name.
    pub fn name(&self, name: &str, image: &ImageRecord, digest: &str, file: Option<Stamp>) -> Result<Timestamp, EngineError> {
        let tagged = now();
        self.store.change_name(name, |record| {
            if record.file != file {
                record.images.clear();
                record.file = file;
            }
            let named = NamedImage { id: image.id.clone(), tagged, digest: digest.to_owned() };
            // The same again is no news.
            match record.images.get(&image.platform.to_string()) {
                Some(known) if known.id == named.id && known.digest == named.digest => known.tagged,
                _ => {
                    record.images.insert(image.platform.to_string(), named);
                    tagged
                }
            }
        })
    }
}

//! What is here, and what goes: names, images, and layers that nobody needs any more.

use super::name::{Name, Platform, Tagged, Version};
use super::store::{self, ImageRecord, NameRecord, children};
use super::{Store, unusable};
use crate::engine::embedded::record;
use crate::units::Timestamp;
use crate::world::{EngineError, ErrorKind, MountKind};
use rustix::fs::FlockOperation;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// An image in a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listed {
    /// `sha256:…`.
    pub id: String,
    /// Its names as users write them, `busybox:latest`, `docker-archive:/x.tar`; those by digest are not among them.
    pub names: Vec<String>,
    /// Names by digest, `busybox@sha256:…`.
    pub digests: Vec<String>,
    /// For which machines it is.
    pub platform: Platform,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When it got its last name.
    pub tagged: Option<Timestamp>,
    /// Bytes of its layers, unpacked; 0 for a folder, which is not ours.
    pub size: u64,
    /// Bytes that no other image has.
    pub unique: u64,
    /// Names of the containers that were made of it.
    pub containers: Vec<String>,
}

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names, as users write them.
    pub untagged: Vec<String>,
    /// Ids of images.
    pub deleted: Vec<String>,
    /// Bytes that are free now.
    pub bytes: u64,
}

/// How much room everything takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Images.
    pub images: usize,
    /// Those of them that a container uses.
    pub active: usize,
    /// Bytes of all layers; one that several images share counts once.
    pub size: u64,
    /// Bytes that would be free if all images went that no container uses.
    pub reclaimable: u64,
}

/// What is needed of a `container.json`.
#[derive(Deserialize)]
struct User {
    name: String,
    image: String,
    #[serde(default)]
    mounts: Vec<Mount>,
}

#[derive(Deserialize)]
struct Mount {
    kind: MountKind,
}

impl Store {
    /// All images, the newest first.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn list(&self) -> Result<Vec<Listed>, EngineError> {
        let (images, names, users) = (self.all_images()?, self.all_names()?, self.users()?);
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for layer in images.iter().flat_map(|i| i.layers.iter().collect::<BTreeSet<_>>()) {
            *times.entry(layer).or_default() += 1;
        }
        let mut list: Vec<Listed> = images
            .iter()
            .map(|image| {
                let own: Vec<&NameRecord> = names.iter().filter(|n| n.images.values().any(|i| i.id == image.id)).collect();
                let unique =
                    image.layers.iter().filter(|l| times.get(l.as_str()) == Some(&1)).filter_map(|l| self.layer_record(l)).map(|l| l.size).sum();
                let folder = image.folder.iter().map(|f| format!("rootfs:{}", f.display()));
                let (digests, tags): (Vec<String>, Vec<String>) = own.iter().map(|n| familiar(&n.name)).partition(|n| n.contains("@sha256:"));
                Listed {
                    id: image.id.clone(),
                    names: tags.into_iter().chain(folder).collect(),
                    digests,
                    platform: image.platform.clone(),
                    created: image.created,
                    tagged: own.iter().flat_map(|n| n.images.values()).filter(|i| i.id == image.id).map(|i| i.tagged).max(),
                    size: image.size,
                    unique,
                    containers: users.get(&image.id).cloned().unwrap_or_default(),
                }
            })
            .collect();
        list.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        Ok(list)
    }

    /// Names of the containers that were made of an image or have it mounted, by the image's id.
    ///
    /// # Errors
    /// A container can't be read.
    pub fn users(&self) -> Result<BTreeMap<String, Vec<String>>, EngineError> {
        let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let folders = children(&self.containers).map_err(|e| record::failed(&format!("{} can't be read", self.containers.display()), &e))?;
        for folder in folders {
            let Some(user) = record::read::<User>(&folder.join("container.json"))? else { continue };
            for mount in user.mounts {
                if let MountKind::Image { reference, .. } = mount.kind
                    && let Ok(Some(image)) = self.find(&reference, None)
                {
                    users.entry(image.id).or_default().push(user.name.clone());
                }
            }
            users.entry(user.image).or_default().push(user.name);
        }
        Ok(users)
    }

    /// One more name for an image.
    ///
    /// # Errors
    /// There is no such image; what is no name.
    pub fn tag(&self, reference: &str, name: &str) -> Result<(), EngineError> {
        let image = self.find(reference, None)?.ok_or_else(|| absent(reference))?;
        let image = self.image_record(&image.id)?.ok_or_else(|| absent(reference))?;
        let name = Tagged::parse(name)?;
        if matches!(name.version, Version::Digest(_)) {
            return Err(unusable(format!("{name} is a name by digest, and nobody gives such")));
        }
        super::store::Intake::new(self, super::Limits::default())?.name(&name.to_string(), &image, "", None).map(drop)
    }

    /// Removes a name, or an image by its id. The image goes with its last name. `force` removes all names of an image that
    /// was given by id, and takes the name from one that a container uses; what containers use stays nevertheless.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] if a container uses it, or if it has several names and was given by id.
    pub fn remove(&self, reference: &str, force: bool) -> Result<Removed, EngineError> {
        let image = self.find(reference, None)?;
        let own = Name::parse(reference).ok().map(|n| n.to_string()).filter(|n| self.name_file(n).exists());
        let Some(id) = image.map(|i| i.id).or_else(|| own.as_ref().map(|_| String::new())) else { return Err(absent(reference)) };
        let of_it: Vec<String> = self.all_names()?.into_iter().filter(|n| n.images.values().any(|i| i.id == id)).map(|n| n.name).collect();
        let going: Vec<String> = match &own {
            Some(own) => {
                // With the last tag of a repository go its digests.
                let repository = |name: &str| Tagged::parse(name).map_or_else(|_| name.to_owned(), |t| t.repository);
                let last = !of_it.iter().any(|n| n != own && !n.contains('@') && repository(n) == repository(own));
                of_it
                    .iter()
                    .filter(|n| *n == own || last && n.contains('@') && repository(n) == repository(own))
                    .cloned()
                    .chain([own.clone()])
                    .collect()
            }
            None => of_it.clone(),
        };
        let going: BTreeSet<String> = going.into_iter().collect();
        let is_last = of_it.iter().all(|n| going.contains(n));
        let users = self.users()?.remove(&id).unwrap_or_default();
        let conflict = |why: String| EngineError::new(ErrorKind::Conflict, format!("image {reference} can't be removed")).because(why);
        if is_last && !users.is_empty() && !force {
            return Err(conflict(format!("container {} was made of it", users.join(", "))));
        }
        if own.is_none() && of_it.iter().filter(|n| !n.contains('@')).count() > 1 && !force {
            return Err(conflict(format!("it has several names: {}", of_it.iter().map(|n| familiar(n)).collect::<Vec<_>>().join(", "))));
        }
        let mut removed = Removed::default();
        for name in going {
            if self.change_name(&name, |record| !std::mem::take(&mut record.images).is_empty())? {
                removed.untagged.push(familiar(&name));
            }
        }
        if is_last && users.is_empty() {
            self.collect(&mut removed, false, |image| image.id == id)?;
        }
        Ok(removed)
    }

    /// Takes the name `reference` away; the image goes with its last name, unless a container uses it. False if there was no
    /// such name.
    ///
    /// # Errors
    /// The store can't be written.
    pub fn untag(&self, reference: &str) -> Result<bool, EngineError> {
        match self.remove(reference, true) {
            Ok(removed) => Ok(!removed.untagged.is_empty() || !removed.deleted.is_empty()),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes the images that have no name; with `all` those that no container uses, with their names. What interrupted
    /// commands have left goes too. Waits until nobody brings images in.
    ///
    /// # Errors
    /// The store can't be read or written.
    pub fn prune(&self, all: bool) -> Result<Removed, EngineError> {
        let mut removed = Removed::default();
        let users = self.users()?;
        if all {
            for name in self.all_names()? {
                let gone = self.change_name(&name.name, |record| {
                    let before = record.images.len();
                    record.images.retain(|_, image| users.contains_key(&image.id));
                    before > record.images.len()
                })?;
                if gone {
                    removed.untagged.push(familiar(&name.name));
                }
            }
        }
        self.collect(&mut removed, true, |_| true)?;
        Ok(removed)
    }

    /// How much room everything takes.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn usage(&self) -> Result<Usage, EngineError> {
        let (images, users) = (self.all_images()?, self.users()?);
        let mut usage = Usage { images: images.len(), ..Usage::default() };
        let active: Vec<&ImageRecord> = images.iter().filter(|i| users.contains_key(&i.id)).collect();
        usage.active = active.len();
        let needed: BTreeSet<&String> = active.iter().flat_map(|i| &i.layers).collect();
        for layer in images.iter().flat_map(|i| &i.layers).collect::<BTreeSet<_>>() {
            let size = self.layer_record(layer).map_or(0, |l| l.size);
            usage.size += size;
            usage.reclaimable += if needed.contains(layer) { 0 } else { size };
        }
        Ok(usage)
    }

    /// Removes the images that `goes` is true of and that nobody needs, and then what belongs to none. If somebody brings
    /// images in, it waits, or leaves it to the next time.
    fn collect(&self, removed: &mut Removed, wait: bool, goes: impl Fn(&ImageRecord) -> bool) -> Result<(), EngineError> {
        let failed = |e: io::Error| record::failed("the image store can't be cleared", &e);
        let how = if wait { FlockOperation::LockExclusive } else { FlockOperation::NonBlockingLockExclusive };
        let _alone = match store::lock(&self.root, how) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            other => other.map_err(failed)?,
        };
        // Looked at anew: only now nobody else changes it.
        let named: BTreeSet<String> = self.all_names()?.into_iter().flat_map(|n| n.images.into_values()).map(|i| i.id).collect();
        let users = self.users()?;
        let (going, staying): (Vec<ImageRecord>, Vec<ImageRecord>) =
            self.all_images()?.into_iter().partition(|i| goes(i) && !named.contains(&i.id) && !users.contains_key(&i.id));
        for image in &going {
            std::fs::remove_file(self.image_file(&image.id)).map_err(failed)?;
            if image.folder.is_none() {
                removed.deleted.push(image.id.clone());
            }
        }
        let layers: BTreeSet<_> = staying.iter().flat_map(|i| &i.layers).map(|l| self.layer_folder(l)).collect();
        let blobs: BTreeSet<_> = staying.iter().map(|i| self.blob_file(&i.id)).collect();
        for blob in children(&self.root.join("blobs/sha256")).map_err(failed)? {
            if !blobs.contains(&blob) {
                std::fs::remove_file(&blob).map_err(failed)?;
            }
        }
        store::remove_stale(&self.temporary());
        let bin = store::Temporary::new(&self.temporary()).map_err(failed)?;
        for layer in children(&self.root.join("layers")).map_err(failed)? {
            if !layers.contains(&layer) {
                let name = layer.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                removed.bytes += self.layer_record(&name).map_or(0, |l| l.size);
                // A layer is there as a whole or not at all.
                std::fs::rename(&layer, bin.path().join(name)).map_err(failed)?;
            }
        }
        Ok(())
    }
}

fn absent(reference: &str) -> EngineError {
    EngineError::new(ErrorKind::NotFound, format!("there is no image {reference}"))
}

/// A name as users write it.
fn familiar(name: &str) -> String {
    match Name::parse(name) {
        Ok(Name::Registry(tagged)) => match &tagged.version {
            Version::Tag(tag) => format!("{}:{tag}", tagged.familiar()),
            Version::Digest(digest) => format!("{}@{digest}", tagged.familiar()),
        },
        _ => name.to_owned(),
    }
}

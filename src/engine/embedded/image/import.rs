//! Into the store by hand: archives of images, archives of files, folders.

use super::layer::{Limits, pack};
use super::name::{Platform, Tagged};
use super::report::Report;
use super::store::{Intake, now};
use super::{Store, archive, broken};
use crate::engine::ProgressSink;
use crate::engine::embedded::record;
use crate::world::EngineError;
use serde_json::json;
use std::io::{self, Read, Write};
use std::path::Path;

/// What an image is made of.
pub enum Files<'a> {
    /// A folder.
    Folder(&'a Path),
    /// An archive, packed with gzip or zstd or not at all.
    Archive(&'a mut (dyn Read + Send)),
}

impl std::fmt::Debug for Files<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Folder(_) => "Folder",
            Self::Archive(_) => "Archive",
        })
    }
}

impl Store {
    /// Brings in all images of a file that `docker save` wrote, of an image layout, or of a layout in an archive, with the
    /// names that they have there. Returns names, and ids of those that have none. It takes long: call it beside the loop.
    ///
    /// # Errors
    /// It is no such file; no room.
    pub fn load(&self, file: &Path, limits: Limits, progress: &ProgressSink) -> Result<Vec<String>, EngineError> {
        archive::load_all(&Intake::new(self, limits)?, file, &Report::new(progress.clone()))
    }

    /// As [`Store::load`], from a stream that can be read once.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn load_from(&self, stream: &mut dyn Read, limits: Limits, progress: &ProgressSink) -> Result<Vec<String>, EngineError> {
        let intake = Intake::new(self, limits)?;
        let scratch = intake.scratch()?;
        let file = scratch.path().join("stream");
        let failed = |e: io::Error| record::failed("the archive can't be kept", &e);
        io::copy(&mut stream.take(limits.size), &mut std::fs::File::create(&file).map_err(failed)?).map_err(failed)?;
        archive::load_all(&intake, &file, &Report::new(progress.clone()))
    }

    /// Makes an image of files, with one layer and without a command, as `docker import` does. Returns its id.
    ///
    /// # Errors
    /// It can't be read; no room.
    pub fn import(&self, files: Files<'_>, name: Option<&str>, limits: Limits) -> Result<String, EngineError> {
        let name = name.map(Tagged::parse).transpose()?;
        let intake = Intake::new(self, limits)?;
        let (diff_id, _) = match files {
            Files::Archive(archive) => intake.layer(archive, None)?,
            Files::Folder(folder) => packed(&intake, folder)?,
        };
        let (platform, created) = (Platform::host(), now().to_string());
        let config = json!({
            "architecture": platform.architecture, "os": platform.os, "created": created, "config": {},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created": created, "comment": "Imported"}],
        });
        let image = intake.image(config.to_string().as_bytes())?;
        if let Some(name) = name {
            intake.name(&name.to_string(), &image, "", None)?;
        }
        Ok(image.id)
    }
}

/// A layer of a folder: packed on one side of a pipe, unpacked on the other.
fn packed(intake: &Intake, folder: &Path) -> Result<(String, super::store::LayerRecord), EngineError> {
    let failed = |e: io::Error| record::failed(&format!("{} can't be imported", folder.display()), &e);
    let (reader, writer) = io::pipe().map_err(failed)?;
    std::thread::scope(|scope| {
        let packer = scope.spawn(move || {
            let mut out = io::BufWriter::with_capacity(64 << 10, writer);
            pack(folder, false, &mut out).and_then(|()| out.flush())
        });
        let layer = intake.layer(reader, None);
        // What went wrong first is why the other went wrong.
        match packer.join() {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(failed(error)),
            Ok(_) => layer,
            Err(_) => Err(broken(format!("{} can't be imported", folder.display()))),
        }
    })
}

//! Images without a version, and builds of what isn't there.

use super::{Search, path_of};
use crate::load::mistakes;
use crate::model::{Build, Service};
use std::path::Path;

pub(super) fn find(search: &mut Search<'_>, service: &Service) {
    // What is built has the tag that it gets.
    if let Some(build) = &service.build {
        return missing(search, service, build);
    }
    if service.image.is_empty() || service.provider.is_some() {
        return;
    }
    let image = service.image.as_str();
    // What is wrong with that is told.
    if mistakes::image(image).is_some() {
        return;
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    let tag = name.split_once(':').map(|(_, tag)| tag);
    // Images that aren't pulled are somebody's own build.
    if image.contains('@') || name == "scratch" || matches!(service.pull_policy.as_str(), "never" | "build") {
        return;
    }
    let place = search.at(&path_of(service).key("image"));
    let plain = tag.map_or(image, |tag| &image[..image.len() - tag.len() - 1]);
    match tag {
        None => {
            let message = format!("the image {image:?} has no tag: which version it is depends on the day it is pulled");
            search.warn("image-latest", place, message, format!("name a version: `{plain}:…`"));
        }
        Some("latest") => {
            let message = format!("the image {image:?} is another one each time it is pulled");
            search.warn("image-latest", place, message, format!("name a version: `{plain}:…`"));
        }
        Some(_) => {}
    }
}

/// A folder of the host that can't be built from.
fn missing(search: &mut Search<'_>, service: &Service, build: &Build) {
    let at = path_of(service).key("build");
    let context = Path::new(&build.context);
    if !context.is_absolute() {
        return;
    }
    let shown = search.shown(&build.context);
    let place = search.at(&at.key("context"));
    if context.is_file() {
        let (folder, file) = (context.parent().unwrap_or(context), context.file_name().unwrap_or_default());
        let folder = search.shown(&folder.display().to_string());
        let folder = if folder == "./" { "." } else { &folder };
        let help = format!("write `build: {{context: {folder}, dockerfile: {}}}`", file.display());
        search.warn("build-missing", place, format!("the context of a build is a folder, and {shown} is a file"), help);
    } else if !context.is_dir() {
        let message = format!("{shown} isn't there, so {:?} can't be built", service.name);
        search.warn("build-missing", place, message, "create it, or mend the path");
    } else if build.dockerfile_inline.is_empty() && !context.join(&build.dockerfile).exists() {
        let message =
            format!("{} isn't there, so {:?} can't be built", search.shown(&context.join(&build.dockerfile).display().to_string()), service.name);
        let named = at.key("dockerfile");
        let place = search.node(&named).filter(|node| !node.implied).map_or(place, |_| search.at(&named));
        search.warn("build-missing", place, message, "create it, or name the right one with `dockerfile`");
    }
}

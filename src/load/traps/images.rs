//! Images without a version.

use super::{Search, path_of};
use crate::model::Service;

pub(super) fn find(search: &mut Search<'_>, service: &Service) {
    // What is built has the tag that it gets.
    if service.build.is_some() || service.image.is_empty() || service.provider.is_some() {
        return;
    }
    let image = service.image.as_str();
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

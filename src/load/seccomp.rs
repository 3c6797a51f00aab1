//! Seccomp profiles: `security_opt: ["seccomp=FILE"]` names a file, and engines want what is in it.

use super::read::read_some;
use crate::diag::{Diagnostic, KeyPath, Places};
use crate::model::Project;

/// Reads the profiles that enabled services name, relative to the project directory, into the project. Returns what can't
/// be read, each at its line.
pub(super) fn read(project: &mut Project, places: Places) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    for service in project.services.values() {
        for (i, option) in service.security_opt.iter().enumerate() {
            let Some(path) = option.strip_prefix("seccomp=").or_else(|| option.strip_prefix("seccomp:")) else { continue };
            if matches!(path, "unconfined" | "builtin") || project.seccomp.contains_key(path) {
                continue;
            }
            let place = places(&KeyPath::of(["services", service.name.as_str(), "security_opt"]).index(i));
            match profile(&project.working_dir.join(path)) {
                Ok(profile) => _ = project.seccomp.insert(path.to_owned(), profile),
                Err(why) => faults.push(
                    Diagnostic::error("seccomp-profile", format!("the seccomp profile {path:?} can't be read: {why}"))
                        .at_opt(place)
                        .help("give the path of a JSON file, relative to the project directory, or `seccomp=unconfined`"),
                ),
            }
        }
    }
    faults
}

/// The profile as compact JSON, or why not.
fn profile(path: &std::path::Path) -> Result<String, String> {
    let bytes = read_some(path).map_err(|e| e.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "it is no UTF-8".to_owned())?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|e| format!("it is no JSON ({e})"))?;
    Ok(json.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Service;

    #[test]
    fn profiles_are_read_once_and_missing_ones_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("own.json"), "{ \"b\": 1,\n \"a\": [] }").unwrap();
        std::fs::write(folder.path().join("broken.json"), "{").unwrap();
        let options = ["seccomp=own.json", "seccomp:unconfined", "label:disable", "seccomp=absent.json", "seccomp=broken.json"];
        let web = Service { name: "web".into(), security_opt: options.map(str::to_owned).to_vec(), ..Service::default() };
        let mut project = Project { working_dir: folder.path().into(), services: [("web".to_owned(), web)].into(), ..Project::default() };
        let faults = read(&mut project, &|_| None);
        assert_eq!(project.seccomp, [("own.json".to_owned(), "{\"b\":1,\"a\":[]}".to_owned())].into());
        assert_eq!(faults.len(), 2);
        assert!(faults[1].message.contains("broken.json") && faults[1].message.contains("no JSON"), "{}", faults[1].message);
    }
}

//! What is executed: words, environment, folder, user.

use super::error::refused;
use crate::engine::embedded::image::ImageConfig;
use crate::world::{ContainerSpec, EngineError};
use rustix::io::Errno;
use std::ffi::CString;

/// Where programs are looked for when nobody says.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command and its surroundings inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments; not empty.
    pub words: Vec<String>,
    /// `K=V`.
    pub environment: Vec<String>,
    /// Working directory.
    pub folder: String,
    /// `user[:group]`.
    pub user: String,
}

impl Command {
    /// Of a container. `hostname` is its own.
    ///
    /// # Errors
    /// Neither the image nor the spec says what to run.
    pub fn of(spec: &ContainerSpec, image: &ImageConfig, hostname: &str) -> Result<Self, EngineError> {
        // A new entry point makes the image's command meaningless.
        let command = spec.command.clone().unwrap_or_else(|| if spec.entrypoint.is_some() { Vec::new() } else { image.cmd.clone() });
        let mut words = spec.entrypoint.clone().unwrap_or_else(|| image.entrypoint.clone());
        words.extend(command);
        if words.first().is_none_or(String::is_empty) {
            return Err(refused("no command: neither the image nor the service says what to run"));
        }
        let pick = |own: &String, image: &String| if own.is_empty() { image.clone() } else { own.clone() };
        let folder = pick(&spec.working_dir, &image.working_dir);
        Ok(Self {
            words,
            environment: environment(spec, image, hostname),
            folder: if folder.is_empty() { "/".into() } else { folder },
            user: pick(&spec.user, &image.user),
        })
    }

    /// As the kernel takes them.
    ///
    /// # Errors
    /// A zero byte.
    pub fn texts(texts: &[String]) -> Result<Vec<CString>, EngineError> {
        texts.iter().map(|t| CString::new(t.as_str()).map_err(|_| refused("a command or a variable has a zero byte in it"))).collect()
    }

    /// Sets a variable, in place of an older one.
    pub fn set(&mut self, variable: &str) {
        let name = variable.split('=').next().unwrap_or_default();
        self.environment.retain(|v| v.split('=').next() != Some(name));
        self.environment.push(variable.to_owned());
    }

    /// Value of a variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find_map(|v| v.strip_prefix(name)?.strip_prefix('='))
    }

    /// Paths to try for the program.
    pub fn candidates(&self) -> Vec<String> {
        let Some(program) = self.words.first() else { return Vec::new() };
        if program.contains('/') {
            return vec![program.clone()];
        }
        let path = self.variable("PATH").unwrap_or(PATH);
        path.split(':').map(|folder| if folder.is_empty() { format!("./{program}") } else { format!("{folder}/{program}") }).collect()
    }

    /// Why it didn't begin, in words.
    pub fn error(&self, error: Errno) -> EngineError {
        use crate::world::ErrorKind;
        let program = self.words.first().map_or("", String::as_str);
        let (kind, what) = match error {
            Errno::NOENT if !program.contains('/') => (ErrorKind::NotFound, format!("exec: \"{program}\": executable file not found in $PATH")),
            // It may be there, and what it needs to run not.
            Errno::NOENT | Errno::NOTDIR => (ErrorKind::NotFound, format!("exec: \"{program}\": no such file or directory")),
            Errno::ISDIR => (ErrorKind::Refused, format!("exec: \"{program}\": is a directory")),
            Errno::ACCESS | Errno::PERM => (ErrorKind::Refused, format!("exec: \"{program}\": permission denied")),
            Errno::NOEXEC => (ErrorKind::Refused, format!("exec: \"{program}\": exec format error (is it built for this machine?)")),
            Errno::TOOBIG => (ErrorKind::Refused, format!("exec: \"{program}\": argument list too long")),
            error => (ErrorKind::Refused, format!("exec: \"{program}\": {error}")),
        };
        EngineError::new(kind, what)
    }
}

fn environment(spec: &ContainerSpec, image: &ImageConfig, hostname: &str) -> Vec<String> {
    let mut all: Vec<(String, String)> = vec![("PATH".into(), PATH.into()), ("HOSTNAME".into(), hostname.into())];
    if spec.tty {
        all.push(("TERM".into(), "xterm".into()));
    }
    let mut set = |name: &str, value: Option<&str>| {
        let at = all.iter().position(|(n, _)| n == name);
        match (at, value) {
            (Some(at), Some(value)) => all[at].1 = value.to_owned(),
            (Some(at), None) => drop(all.remove(at)),
            (None, Some(value)) => all.push((name.to_owned(), value.to_owned())),
            (None, None) => {}
        }
    };
    for variable in &image.env {
        if let Some((name, value)) = variable.split_once('=') {
            set(name, Some(value));
        }
    }
    for (name, value) in &spec.environment {
        set(name, value.as_deref());
    }
    all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{ConfigHash, InstanceKey};

    fn spec() -> ContainerSpec {
        ContainerSpec::new("c", InstanceKey { service: "s".into(), number: 1 }, "i", ConfigHash::Known(String::new()))
    }

    fn list(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn words() {
        let image = ImageConfig { entrypoint: list(&["e"]), cmd: list(&["c"]), ..ImageConfig::default() };
        let words = |s: &ContainerSpec| Command::of(s, &image, "h").map(|c| c.words);
        assert_eq!(words(&spec()), Ok(list(&["e", "c"])));
        assert_eq!(words(&ContainerSpec { command: Some(list(&["x"])), ..spec() }), Ok(list(&["e", "x"])));
        assert_eq!(words(&ContainerSpec { entrypoint: Some(list(&["n"])), ..spec() }), Ok(list(&["n"])));
        assert!(words(&ContainerSpec { entrypoint: Some(Vec::new()), ..spec() }).is_err());
    }

    #[test]
    fn variables() {
        let image = ImageConfig { env: list(&["A=1", "B=2=3", "PATH=/bin", "broken"]), cmd: list(&["sh"]), ..ImageConfig::default() };
        let mut spec = spec();
        spec.environment = [("A".into(), None), ("C".into(), Some("4".into()))].into();
        let mut command = Command::of(&spec, &image, "host").expect("a command");
        assert_eq!(command.environment, ["PATH=/bin", "HOSTNAME=host", "B=2=3", "C=4"]);
        command.set("B=5");
        assert_eq!(command.variable("B"), Some("5"));
        assert_eq!(command.candidates(), ["/bin/sh"]);
    }
}

//! One call of a runtime, and what it says when it fails.

use super::super::error::{Told as _, refused};
use super::Files;
use crate::engine::embedded::record::OciRuntime;
use crate::engine::embedded::sys::process::{Cloned, clone, execute, exit};
use crate::world::{EngineError, ErrorKind};
use rustix::process::{Signal, WaitId, WaitIdOptions, set_parent_process_death_signal, waitid};
use serde::Deserialize;
use std::ffi::CString;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;

/// What a runtime's helpers may need to be found.
const ENVIRONMENT: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How much of a log is looked at.
const LOG: u64 = 1 << 20;

/// Has the runtime do one thing, with this process's standard streams, and waits for it. It dies with this process.
///
/// # Errors
/// It can't be executed; it fails, with its own words.
pub fn call(runtime: &OciRuntime, files: &Files, words: &[&str]) -> Result<(), EngineError> {
    let what = words.first().copied().unwrap_or_default();
    let log = files.bundle.join("log.json");
    let _ = std::fs::remove_file(&log);
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| refused("a path has a zero byte in it"));
    let program = text(runtime.path.as_os_str().as_bytes())?;
    let mut arguments = vec![program.clone()];
    for argument in &runtime.arguments {
        arguments.push(text(argument.as_bytes())?);
    }
    for (option, value) in [("--root", files.state.as_os_str().as_bytes()), ("--log", log.as_os_str().as_bytes()), ("--log-format", b"json")] {
        arguments.extend([text(option.as_bytes())?, text(value)?]);
    }
    for word in words {
        arguments.push(text(word.as_bytes())?);
    }
    let environment = [text(ENVIRONMENT.as_bytes())?];
    let pidfd = match clone(0, None).told(|| format!("{} can't be started", runtime.name()))? {
        Cloned::Child => {
            // Without whoever has asked for it nobody would hear how it went.
            let _ = set_parent_process_death_signal(Some(Signal::KILL));
            let error = execute(&program, &arguments, &environment);
            exit(error.raw_os_error().map_or(255, |n| if n == libc::ENOENT { 127 } else { 126 }));
        }
        Cloned::Parent { pidfd, .. } => pidfd,
    };
    let ended = loop {
        match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Err(rustix::io::Errno::INTR) => {}
            ended => break ended.told(|| format!("{} can't be waited for", runtime.name()))?,
        }
    };
    let code = ended.as_ref().and_then(rustix::process::WaitIdStatus::exit_status);
    if code == Some(0) {
        return Ok(());
    }
    let said = last_words(&read(&log));
    Err(failed(runtime, what, code, said))
}

fn read(log: &std::path::Path) -> String {
    use std::io::Read as _;
    let mut text = Vec::new();
    if let Ok(file) = std::fs::File::open(log) {
        let _ = file.take(LOG).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    level: String,
    #[serde(default)]
    msg: String,
}

/// The last error in a log of a runtime: lines of JSON, or plain text from those that know no JSON.
fn last_words(log: &str) -> Option<String> {
    let lines = || log.lines().map(str::trim).filter(|l| !l.is_empty());
    let mut errors =
        lines().filter_map(|l| serde_json::from_str::<Line>(l).ok()).filter(|l| matches!(l.level.to_ascii_lowercase().as_str(), "error" | "fatal"));
    errors.next_back().map(|l| l.msg).or_else(|| lines().rfind(|l| !l.starts_with('{')).map(str::to_owned)).filter(|m| !m.is_empty())
}

fn failed(runtime: &OciRuntime, what: &str, code: Option<i32>, said: Option<String>) -> EngineError {
    let message = said.unwrap_or_else(|| match code {
        Some(126) => format!("{} can't be executed", runtime.path.display()),
        Some(127) => format!("{} is not there", runtime.path.display()),
        Some(code) => format!("it ended with code {code} and said nothing"),
        None => "it was killed".into(),
    });
    let lower = message.to_lowercase();
    let about_program = lower.contains("exec") && !lower.contains("mount");
    let kind = if about_program && (lower.contains("not found in $path") || lower.contains("no such file or directory")) {
        ErrorKind::NotFound
    } else if lower.contains("no space left") {
        ErrorKind::NoSpace
    } else {
        ErrorKind::Refused
    };
    EngineError::new(kind, format!("{} can't {what} the container", runtime.name())).because(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_words() {
        let runc = "{\"level\":\"warning\",\"msg\":\"x\",\"time\":\"t\"}\n{\"level\":\"error\",\"msg\":\"runc create failed: unable to start container process: exec: \\\"nosuch\\\": executable file not found in $PATH\",\"time\":\"t\"}\n";
        let runtime = OciRuntime { path: "/usr/sbin/runc".into(), arguments: Vec::new() };
        let error = failed(&runtime, "create", Some(1), last_words(runc));
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert!(error.to_string().starts_with("runc can't create the container: runc create failed: "), "{error}");
        assert_eq!(last_words("plain words\n"), Some("plain words".into()));
        assert_eq!(last_words("{\"level\":\"debug\",\"msg\":\"x\"}\n"), None);
        let crun = "{\"msg\":\"open executable: Permission denied\",\"level\":\"error\",\"time\":\"t\"}";
        assert_eq!(failed(&runtime, "create", Some(1), last_words(crun)).kind, ErrorKind::Refused);
        assert!(failed(&runtime, "create", Some(3), None).to_string().contains("code 3"));
        assert!(failed(&runtime, "start", None, None).to_string().contains("killed"));
    }
}

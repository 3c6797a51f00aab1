//! The programs of simulated containers: what of busybox they have.

use super::{NOT_FOUND, Shell};
use crate::engine::sim::files::File;
use crate::engine::sim::process::signal_number;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::sleep;

/// Names of all programs.
const PROGRAMS: [&str; 42] = [
    ":", "[", "ash", "bash", "cat", "cd", "chmod", "chown", "echo", "env", "exec", "exit", "export", "false", "getent", "grep", "head", "hostname",
    "id", "ls", "mkdir", "nslookup", "ping", "printenv", "printf", "pwd", "read", "rm", "seq", "sh", "sleep", "stat", "stty", "tail", "test",
    "touch", "trap", "true", "unset", "wait", "wc", "yes",
];

/// Whether a command line can be run by the built-in shell.
pub(in crate::engine::sim) fn knows(argv: &[String]) -> bool {
    argv.first().is_some_and(|program| PROGRAMS.contains(&base(program)))
}

/// The name of a program without the folders where programs are.
fn base(program: &str) -> &str {
    ["/bin/", "/usr/bin/", "/sbin/", "/usr/sbin/", "/usr/local/bin/"].iter().find_map(|d| program.strip_prefix(d)).unwrap_or(program)
}

type Running<'a> = Pin<Box<dyn Future<Output = i64> + Send + 'a>>;

impl Shell {
    /// Runs a program; its exit code.
    pub(super) fn command(&mut self, argv: Vec<String>) -> Running<'_> {
        Box::pin(async move {
            let Some((program, args)) = argv.split_first() else { return 0 };
            if let Some(script) = self.scripted.get(program).cloned() {
                return self.scripted(&script).await;
            }
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            match (base(program), args.as_slice()) {
                ("true" | ":" | "export" | "chown" | "unset", []) | ("chown", _) => 0,
                ("false", _) => 1,
                ("exit", args) => {
                    let code = args.first().map_or(Some(self.status), |a| a.parse().ok()).unwrap_or(2) & 0xff;
                    self.ended = Some(code);
                    code
                }
                ("exec", args) => {
                    let code = self.command(args.iter().map(|a| (*a).to_owned()).collect()).await;
                    if !args.is_empty() {
                        self.ended.get_or_insert(code);
                    }
                    code
                }
                ("sh" | "ash" | "bash", args) => self.shell(args).await,
                ("echo", args) => self.echo(args).await,
                ("printf", args) => self.printf(args).await,
                ("cat", args) => self.cat(args).await,
                ("env" | "printenv", args) => self.env(args).await,
                ("sleep", args) => self.sleep(args).await,
                ("wait", _) => {
                    self.wait_for_trap().await;
                    143
                }
                ("trap", args) => self.trap(args),
                ("cd", args) => {
                    self.cwd = self.path(args.first().copied().unwrap_or("/"));
                    0
                }
                ("pwd", _) => self.say(&self.cwd.clone()).await,
                ("hostname", _) => {
                    let name = self.sim.lock().get(&self.container).map(|c| c.hostname()).unwrap_or_default();
                    self.say(&name).await
                }
                ("stty", ["size"]) => match &self.terminal {
                    Some(size) => {
                        let (columns, rows) = *size.borrow();
                        self.say(&format!("{rows} {columns}")).await
                    }
                    None => self.fail("stty: standard input is no terminal").await,
                },
                ("id", args) => self.id(args).await,
                ("touch", paths) => {
                    for path in paths {
                        let path = self.path(path);
                        let opened = self.sim.lock().open(&self.container, &path, false, &self.user);
                        if let Err(why) = opened {
                            return self.fail(&format!("touch: {path}: {why}")).await;
                        }
                    }
                    0
                }
                ("mkdir", args) => {
                    for path in args.iter().filter(|a| !a.starts_with('-')) {
                        let path = self.path(path);
                        let made = self.sim.lock().write(&self.container, &path, File::directory());
                        if let Err(why) = made {
                            return self.fail(&format!("mkdir: can't create directory '{path}': {why}")).await;
                        }
                    }
                    0
                }
                ("rm", args) => {
                    let force = args.iter().any(|a| a.starts_with('-') && a.contains('f'));
                    for path in args.iter().filter(|a| !a.starts_with('-')) {
                        let path = self.path(path);
                        let removed = self.sim.lock().delete(&self.container, &path);
                        if !removed && !force {
                            return self.fail(&format!("rm: can't remove '{path}': No such file or directory")).await;
                        }
                    }
                    0
                }
                ("chmod", [mode, paths @ ..]) => {
                    let Ok(mode) = u32::from_str_radix(mode, 8) else { return self.fail("chmod: invalid mode").await };
                    for path in paths {
                        let path = self.path(path);
                        let Some(file) = self.sim.lock().read(&self.container, &path) else {
                            return self.fail(&format!("chmod: {path}: No such file or directory")).await;
                        };
                        // It was just read, so it can be written.
                        let _ = self.sim.lock().write(&self.container, &path, File { mode, ..file });
                    }
                    0
                }
                ("ls", args) => self.ls(args).await,
                ("stat", ["-c", format, path]) => {
                    let Some(file) = self.file(path) else { return self.fail(&format!("stat: {path}: No such file or directory")).await };
                    let size = file.content.len().to_string();
                    let text =
                        format.replace("%a", &format!("{:o}", file.mode)).replace("%u", &file.uid).replace("%g", &file.gid).replace("%s", &size);
                    self.say(&text).await
                }
                ("test", args) => i64::from(!self.test(args)),
                ("[", [args @ .., "]"]) => i64::from(!self.test(args)),
                ("seq", args) => {
                    let numbers: Vec<i64> = args.iter().filter_map(|a| a.parse().ok()).collect();
                    let (from, to) = if let [from, to, ..] = numbers[..] { (from, to) } else { (1, numbers.first().copied().unwrap_or(0)) };
                    let mut text = String::new();
                    for n in from..=to.min(from.saturating_add(10_000_000)) {
                        text.push_str(&n.to_string());
                        text.push('\n');
                        if text.len() > 64 * 1024 {
                            self.print(0, std::mem::take(&mut text).into()).await;
                        }
                    }
                    self.print(0, text.into()).await;
                    0
                }
                ("wc", args) => {
                    let text = match args.iter().find(|a| !a.starts_with('-')) {
                        Some(path) => self.file(path).map(|f| f.content).unwrap_or_default(),
                        None => self.read_all().await,
                    };
                    let lines = text.iter().filter(|b| **b == b'\n').count();
                    self.say(&if args.contains(&"-l") { lines } else { text.len() }.to_string()).await
                }
                ("head", ["-c", count, rest @ ..]) => {
                    let count: usize = count.parse().unwrap_or(0);
                    let bytes = match rest.first() {
                        Some(&"/dev/zero") => vec![0; count],
                        Some(path) => self.file(path).map(|f| f.content).unwrap_or_default(),
                        None => self.read_all().await,
                    };
                    let bytes: Vec<u8> = bytes.into_iter().take(count).collect();
                    for piece in bytes.chunks(32 * 1024) {
                        self.print(0, piece.to_vec().into()).await;
                    }
                    0
                }
                ("grep", args) => {
                    let quiet = args.contains(&"-q");
                    let plain: Vec<&str> = args.iter().filter(|a| !a.starts_with('-')).copied().collect();
                    let text = match plain.get(1) {
                        Some(path) => self.file(path).map(|f| f.content).unwrap_or_default(),
                        None => self.read_all().await,
                    };
                    let text = String::from_utf8_lossy(&text).into_owned();
                    let pattern = plain.first().copied().unwrap_or_default();
                    let found: String = text.lines().filter(|l| l.contains(pattern)).map(|l| format!("{l}\n")).collect();
                    let code = i64::from(found.is_empty());
                    if !quiet {
                        self.print(0, found.into()).await;
                    }
                    code
                }
                ("tail", ["-f", ..]) => std::future::pending().await,
                ("read", names) => {
                    let text = String::from_utf8_lossy(&self.read_some().await).into_owned();
                    let ended = text.is_empty();
                    if let Some(name) = names.iter().find(|n| !n.starts_with('-')) {
                        self.assign((*name).to_owned(), text.lines().next().unwrap_or_default().to_owned());
                    }
                    i64::from(ended)
                }
                ("nslookup" | "ping" | "getent", args) => self.resolve(args).await,
                ("export", args) => {
                    for arg in args {
                        let (name, value) = arg.split_once('=').unwrap_or((arg, ""));
                        let value = if arg.contains('=') { value.to_owned() } else { self.lookup(name).unwrap_or_default() };
                        self.environment.insert(name.to_owned(), value);
                    }
                    0
                }
                ("unset", args) => {
                    for name in args {
                        self.environment.remove(*name);
                        self.variables.remove(*name);
                    }
                    0
                }
                ("yes", _) => loop {
                    self.print(0, "y\n".repeat(1024).into()).await;
                    tokio::task::yield_now().await;
                },
                (name, _) if PROGRAMS.contains(&name) => self.fail(&format!("{name}: these arguments are not known to the simulated engine")).await,
                _ => {
                    self.print(1, format!("sh: {program}: not found\n").into()).await;
                    NOT_FOUND
                }
            }
        })
    }

    async fn say(&self, text: &str) -> i64 {
        self.print(0, format!("{text}\n").into()).await;
        0
    }

    async fn fail(&self, text: &str) -> i64 {
        self.print(1, format!("{text}\n").into()).await;
        1
    }

    async fn shell(&mut self, args: &[&str]) -> i64 {
        let mut inside = self.clone();
        let text = match args.iter().position(|a| a.starts_with('-') && a.contains('c')).and_then(|i| args.get(i + 1)) {
            Some(text) => (*text).to_owned(),
            None => match args.first() {
                Some(path) => match self.file(path) {
                    Some(file) => String::from_utf8_lossy(&file.content).into_owned(),
                    None => {
                        self.print(1, format!("sh: can't open '{path}': No such file or directory\n").into()).await;
                        return NOT_FOUND;
                    }
                },
                None => return self.interactive().await,
            },
        };
        let code = inside.script(&text).await;
        inside.ended.unwrap_or(code)
    }

    /// Runs what is read from standard input, line by line.
    async fn interactive(&mut self) -> i64 {
        let mut inside = self.clone();
        let (mut code, mut text) = (0, String::new());
        loop {
            let some = inside.read_some().await;
            text.push_str(&String::from_utf8_lossy(&some).replace('\r', "\n"));
            let end = if some.is_empty() { Some(text.len()) } else { text.rfind('\n') };
            if let Some(end) = end {
                let ready: String = text.drain(..end).collect();
                code = inside.script(&ready).await;
            }
            if let Some(code) = inside.ended {
                return code;
            }
            if some.is_empty() {
                return code;
            }
        }
    }

    async fn echo(&self, args: &[&str]) -> i64 {
        let newline = args.first() != Some(&"-n");
        let words = if newline { args } else { args.get(1..).unwrap_or_default() };
        self.print(0, format!("{}{}", words.join(" "), if newline { "\n" } else { "" }).into()).await;
        0
    }

    async fn printf(&self, args: &[&str]) -> i64 {
        let Some((format, values)) = args.split_first() else { return 2 };
        let (mut out, mut values) = (String::new(), values.iter());
        let mut chars = format.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some(first @ '0'..='7') => {
                        let mut code = first.to_digit(8).unwrap_or(0);
                        while let Some(digit) = chars.next_if(|c| code < 0o40 && c.is_digit(8)).and_then(|c| c.to_digit(8)) {
                            code = code * 8 + digit;
                        }
                        out.extend(char::from_u32(code));
                    }
                    Some(other) => out.push(other),
                    None => out.push('\\'),
                },
                '%' => match chars.next() {
                    Some('%') => out.push('%'),
                    Some(_) => out.push_str(values.next().unwrap_or(&"")),
                    None => out.push('%'),
                },
                c => out.push(c),
            }
        }
        self.print(0, out.into()).await;
        0
    }

    async fn cat(&self, args: &[&str]) -> i64 {
        let mut code = 0;
        let paths = if args.is_empty() { &["-"][..] } else { args };
        for path in paths {
            if *path == "-" {
                loop {
                    let some = self.read_some().await;
                    if some.is_empty() {
                        break;
                    }
                    self.print(0, some.into()).await;
                }
            } else if let Some(file) = self.file(path) {
                self.print(0, file.content.into()).await;
            } else {
                code = self.fail(&format!("cat: can't open '{path}': No such file or directory")).await;
            }
        }
        code
    }

    async fn env(&mut self, args: &[&str]) -> i64 {
        if let Some(name) = args.first() {
            return match self.environment.get(*name).cloned() {
                Some(value) => self.say(&value).await,
                None => 1,
            };
        }
        let text: String = self.environment.iter().map(|(k, v)| format!("{k}={v}\n")).collect();
        self.print(0, text.into()).await;
        0
    }

    async fn sleep(&self, args: &[&str]) -> i64 {
        let seconds = match args.first() {
            Some(&"infinity" | &"inf") => f64::MAX,
            Some(text) => match text.trim_end_matches('s').parse::<f64>() {
                Ok(seconds) if seconds >= 0.0 => seconds,
                _ => return self.fail(&format!("sleep: invalid number '{text}'")).await,
            },
            None => return self.fail("sleep: a number is missing").await,
        };
        match Duration::try_from_secs_f64(seconds) {
            Ok(time) if seconds < 1e9 => sleep(time).await,
            _ => std::future::pending().await,
        }
        self.sim.thawed(&self.container).await;
        0
    }

    fn trap(&self, args: &[&str]) -> i64 {
        let Some((action, signals)) = args.split_first() else { return 0 };
        let mut set = self.traps.set.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for name in signals {
            // `EXIT` and names that are no signals never come.
            if let Ok(signal) = signal_number(name) {
                if *action == "-" {
                    set.remove(&signal);
                } else {
                    set.insert(signal, (*action).to_owned());
                }
            }
        }
        0
    }

    async fn id(&self, args: &[&str]) -> i64 {
        let (user, group) = self.user.split_once(':').unwrap_or((&self.user, ""));
        let number = |s: &str| match s {
            "" | "root" => "0".to_owned(),
            "nobody" => "65534".to_owned(),
            other => other.to_owned(),
        };
        let (user, group) = (number(user), number(group));
        match args.first() {
            Some(&"-u") => self.say(&user).await,
            Some(&"-g") => self.say(&group).await,
            _ => self.say(&format!("uid={user} gid={group}")).await,
        }
    }

    async fn ls(&self, args: &[&str]) -> i64 {
        let mut code = 0;
        let plain: Vec<&str> = args.iter().filter(|a| !a.starts_with('-')).copied().collect();
        let here = [self.cwd.as_str()];
        for path in if plain.is_empty() { &here[..] } else { &plain } {
            let full = self.path(path);
            let names = self.sim.lock().list(&self.container, &full);
            match names {
                Some(names) => self.print(0, names.iter().map(|n| format!("{n}\n")).collect::<String>().into()).await,
                None if self.file(path).is_some() => drop(self.say(path).await),
                None => code = self.fail(&format!("ls: {path}: No such file or directory")).await,
            }
        }
        code
    }

    fn test(&self, args: &[&str]) -> bool {
        let directory = |path: &str| self.sim.lock().list(&self.container, &self.path(path)).is_some();
        let number = |s: &str| s.trim().parse::<i64>().unwrap_or(0);
        match args {
            ["!", rest @ ..] => !self.test(rest),
            ["-n", text] | [text] => !text.is_empty(),
            ["-z", text] => text.is_empty(),
            ["-f", path] => self.file(path).is_some_and(|f| !f.directory),
            ["-s", path] => self.file(path).is_some_and(|f| !f.content.is_empty()),
            ["-d", path] => directory(path),
            ["-e" | "-r" | "-w" | "-x", path] => self.file(path).is_some() || directory(path),
            ["-t", _] => self.terminal.is_some(),
            [a, "=" | "==", b] => a == b,
            [a, "!=", b] => a != b,
            [a, "-eq", b] => number(a) == number(b),
            [a, "-ne", b] => number(a) != number(b),
            [a, "-lt", b] => number(a) < number(b),
            [a, "-le", b] => number(a) <= number(b),
            [a, "-gt", b] => number(a) > number(b),
            [a, "-ge", b] => number(a) >= number(b),
            _ => false,
        }
    }

    /// Finds the addresses of a name, as the engine's name server would.
    async fn resolve(&self, args: &[&str]) -> i64 {
        let flagged = |i: usize| i > 0 && matches!(args.get(i - 1), Some(&("-c" | "-W" | "-w")));
        let plain = args.iter().enumerate().filter(|(i, a)| !a.starts_with('-') && !flagged(*i) && **a != "hosts" && **a != "ahostsv4");
        let Some(name) = plain.map(|(_, a)| *a).next() else { return self.fail("a name is missing").await };
        let addresses = self.sim.lock().resolve(&self.container, name);
        if addresses.is_empty() {
            return self.fail(&format!("** server can't find {name}: NXDOMAIN")).await;
        }
        let text: String = addresses.iter().map(|a| format!("Name:\t{name}\nAddress: {a}\n")).collect();
        self.print(0, text.into()).await;
        0
    }
}

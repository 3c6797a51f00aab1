//! Machines that lack something: the command says what, where and what to do, leaves nothing behind, and the next one goes
//! on.
//!
//! What a kernel doesn't have is refused by a filter of system calls here, put around the command: [`before`].

use crate::stage::{Census, Stage, finished, through};
use crate::support::embedded::Mounted;
use std::ffi::CString;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// System calls that fail, as `NUMBER,ERRNO[,ARGUMENT,VALUE]...` apart by blanks; the program to run is this one's
/// arguments.
const VARIABLE: &str = "CONSORT_TEST_WITHOUT";

#[used]
#[unsafe(link_section = ".init_array")]
#[expect(unsafe_code, reason = "the one way to be first in a program whose main is the harness")]
static BEFORE: extern "C" fn() = before;

#[expect(clippy::disallowed_methods, reason = "the wish comes through the environment, and the harness must not begin")]
extern "C" fn before() {
    let Ok(wish) = std::env::var(VARIABLE) else { return };
    let mut code = vec![instruction(0x20, 0, 0, 0)];
    for rule in wish.split(' ') {
        let numbers: Vec<u32> = rule.split(',').map(|n| n.parse().expect("a number")).collect();
        let arguments = &numbers[2..];
        // Past the tests of arguments (two instructions each), the answer, and the reload of the number after them.
        let tests = u8::try_from(arguments.len()).expect("few");
        code.push(instruction(0x15, 0, tests + 1 + u8::from(tests > 0), numbers[0]));
        for (at, pair) in arguments.chunks(2).enumerate() {
            code.push(instruction(0x20, 0, 0, 16 + 8 * pair[0]));
            code.push(instruction(0x15, 0, tests - 2 * u8::try_from(at).expect("few") - 1, pair[1]));
        }
        code.push(instruction(0x06, 0, 0, 0x0005_0000 | numbers[1]));
        if tests > 0 {
            code.push(instruction(0x20, 0, 0, 0));
        }
    }
    code.push(instruction(0x06, 0, 0, 0x7fff_0000));
    filter(&code);
    let words: Vec<CString> = std::env::args_os().skip(1).map(|w| CString::new(w.into_encoded_bytes()).expect("no zero")).collect();
    execute(&words);
    std::process::exit(125);
}

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

#[expect(unsafe_code, reason = "seccomp(2) has no safe wrapper")]
fn filter(code: &[libc::sock_filter]) {
    let program = libc::sock_fprog { len: u16::try_from(code.len()).expect("short"), filter: code.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, which lives until the call returns.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, 1, 0, &raw const program) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

#[expect(unsafe_code, reason = "execve(2) has no safe wrapper, and the environment is to be less by one variable")]
fn execute(words: &[CString]) {
    let list = |texts: &[CString]| texts.iter().map(|t| t.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
    let variables = std::env::vars_os().filter(|(name, _)| name != VARIABLE);
    let variables: Vec<CString> =
        variables.map(|(n, v)| CString::new([n.as_encoded_bytes(), b"=", v.as_encoded_bytes()].concat()).expect("no zero")).collect();
    // SAFETY: both lists end with a null pointer, and what they point to lives until the call fails.
    unsafe { libc::execve(words[0].as_ptr(), list(words).as_ptr(), list(&variables).as_ptr()) };
}

const PROJECT: &str = "
services:
  web:
    image: rootfs:ROOT
    stop_grace_period: 0s
    command: [sh, -c, 'while true; do echo hello | busybox nc -l -p 80; done']
    volumes: ['/usr:/usr:ro', 'data:/data', /cache]
    ports: ['8080:80']
    healthcheck: {test: [CMD, 'true'], interval: 100ms}
volumes: {data: {}}
";

const UP: [&str; 3] = ["up", "-d", "--wait"];
const DOWN: [&str; 2] = ["down", "--volumes"];

/// ENODEV and others, for [`VARIABLE`].
fn rule(call: libc::c_long, error: i32, arguments: &[(u32, i32)]) -> String {
    arguments.iter().fold(format!("{call},{error}"), |rule, (at, value)| format!("{rule},{at},{value}"))
}

impl Stage {
    fn without(&self, rules: &[String], words: &[&str]) -> Command {
        let mut command = through(&self.command(words), &std::env::current_exe().unwrap().to_string_lossy(), &[]);
        command.env(VARIABLE, rules.join(" "));
        command
    }

    /// What is there after everything went well once.
    fn before(&self) -> Census {
        self.good(&UP);
        self.good(&DOWN);
        self.census_at_rest()
    }

    /// Fails, and says why in these words; nothing is left after `down`, and the next `up` works.
    fn fails(&self, mut command: Command, why: &[&str], before: &Census) -> String {
        let output = finished(command.spawn().unwrap(), &[why.first().copied().unwrap_or_default()]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{why:?}: {said}");
        for word in why {
            assert!(said.contains(word), "no `{word}` in {said}");
        }
        assert!(!said.contains("panicked") && !said.contains("systemctl start docker"), "{said}");
        self.good(&DOWN);
        self.settles(before).unwrap_or_else(|left| panic!("{why:?}: {left}"));
        said
    }

    /// Succeeds, and what it says.
    fn works(&self, mut command: Command) -> String {
        let output = finished(command.spawn().unwrap(), &["up"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        said
    }
}

/// What the published port says.
fn hear(what: &str) -> String {
    let mut text = String::new();
    let begun = SystemTime::now();
    // Until the server's next turn has begun connections are refused or end at once.
    while text.is_empty() {
        assert!(begun.elapsed().unwrap_or_default().as_secs() < 20, "{what}: nobody answers at the published port");
        let Ok(mut stream) = TcpStream::connect("127.0.0.1:8080") else { continue };
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let _ = stream.write_all(b"\n");
        let _ = stream.read_to_string(&mut text);
    }
    text
}

#[test]
fn kernels_that_lack_something() {
    let Some((stage, _machine)) = Stage::new(PROJECT) else { return };
    let before = stage.before();
    let fails = |rules: &[String], why: &[&str]| stage.fails(stage.without(rules, &UP), why, &before);
    // The first file system that a container needs is the overlay.
    let overlay = rule(libc::SYS_fsopen, libc::ENODEV, &[]);
    fails(&[overlay], &["error: the kernel has no overlayfs (CONFIG_OVERLAY_FS): containers need it for their file systems"]);
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    for (call, name, since) in [
        (libc::SYS_mount_setattr, "mount_setattr", "5.12"),
        (libc::SYS_openat2, "openat2", "5.6"),
        (libc::SYS_clone3, "clone3", "5.3"),
        (libc::SYS_pidfd_open, "pidfd_open", "5.3"),
        (libc::SYS_close_range, "close_range", "5.9"),
    ] {
        let why = format!("this kernel ({release}) has no {name}(2), which Linux {since} brought: it needs Linux 5.12 or later");
        fails(&[rule(call, libc::ENOSYS, &[])], &[&why]);
    }
    fails(&[rule(libc::SYS_seccomp, libc::ENOSYS, &[])], &["the filter of system calls can't be installed"]);
}

/// As where the kernel was built without nf_tables: published ports go through the proxy, and nothing is forwarded.
#[test]
fn a_kernel_without_nf_tables() {
    let Some((stage, _machine)) = Stage::new(PROJECT) else { return };
    let before = stage.before();
    fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
    // socket(AF_NETLINK, _, NETLINK_NETFILTER)
    let without = rule(libc::SYS_socket, libc::EPROTONOSUPPORT, &[(0, libc::AF_NETLINK), (2, 12)]);
    let said = stage.works(stage.without(std::slice::from_ref(&without), &UP));
    let name = format!("{}_default", stage.name);
    let note =
        format!("this kernel has no nf_tables (CONFIG_NF_TABLES): containers of network {name} reach nothing outside, published ports are proxied");
    assert!(said.lines().any(|l| l.starts_with("warning: ") && l.ends_with(&note)), "{said}");
    assert_eq!(hear(""), "hello\n");
    assert_eq!(crate::net::tables(), Vec::<String>::new());
    // What only rules keep from happening isn't made possible.
    assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), "0\n");
    let links = fs::read_dir("/proc/sys/net/ipv4/conf").unwrap().flatten().map(|e| e.path().join("route_localnet"));
    assert_eq!(links.filter(|f| fs::read_to_string(f).unwrap() != "0\n").collect::<Vec<_>>(), Vec::<PathBuf>::new());
    // Where others want packets forwarded that is said.
    stage.works(stage.without(std::slice::from_ref(&without), &DOWN));
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    let said = stage.works(stage.without(&[without], &UP));
    assert!(said.contains("; nothing keeps networks apart, as this machine forwards packets"), "{said}");
    stage.good(&DOWN);
    stage.settles(&before).unwrap();
}

#[test]
fn no_more_processes() {
    let Some((stage, _machine)) = Stage::new(PROJECT) else { return };
    let Some(pids) = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].into_iter().map(Path::new).find(|f| f.join("cgroup.procs").exists()) else { return };
    let group = pids.join(format!("consort-test-{}", stage.name));
    fs::create_dir(&group).unwrap();
    if !group.join("pids.max").exists() {
        fs::remove_dir(&group).unwrap();
        crate::support::say("faults: no group with a limit of processes can be had; skipped");
        return;
    }
    let before = stage.before();
    let script = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", group.display());
    let mut works = false;
    // Wherever the limit strikes: the command's threads, the supervisor, the container.
    for limit in 1..=16 {
        fs::write(group.join("pids.max"), limit.to_string()).unwrap();
        let mut command = through(&stage.command(&UP), "sh", &["-c", &script, "sh"]);
        let output = finished(command.spawn().unwrap(), &["up"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked") && !said.contains("systemctl"), "{limit}: {said}");
        works = output.status.success();
        if !works {
            let told = said.contains("the limit of processes is reached") || said.contains("no thread can be had");
            assert!(output.status.code() == Some(1) && told && said.contains("pids.max"), "{limit}: {said}");
        }
        stage.good(&DOWN);
        stage.settles(&before).unwrap_or_else(|left| panic!("{limit}: {left}"));
    }
    assert!(works, "16 processes are enough");
    fs::remove_dir(&group).unwrap();
}

#[test]
fn privileges_that_are_missing() {
    let Some((stage, _machine)) = Stage::new(PROJECT) else { return };
    let before = stage.before();
    let less = |what: &str| {
        let without = format!("-{what}");
        through(&stage.command(&UP), "setpriv", &["--bounding-set", &without, "--inh-caps", &without])
    };
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    // Others may not even look into the folder of the test.
    let nobody = through(&stage.command(&["ls"]), "setpriv", &nobody);
    stage.fails(nobody, &["error: the embedded engine must be run as root: namespaces, mounts and networks need it; try sudo"], &before);
    stage.fails(
        less("sys_admin"),
        &["error: the embedded engine needs CAP_SYS_ADMIN, which this root doesn't have: inside a container that one has to be privileged"],
        &before,
    );
    stage.fails(less("net_admin"), &["of network", "can't be set up: ", "needs CAP_NET_ADMIN"], &before);

    // What can be done without, is.
    let more = "    ulimits: {nofile: 1048570}\n    oom_score_adj: -999\n";
    let file = stage.folder.join("compose.yaml");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("    ports:", &format!("{more}    ports:"))).unwrap();
    let command = less("sys_resource");
    let command = through(&command, "sh", &["-c", "ulimit -n 4096; echo 100 > /proc/self/oom_score_adj; exec \"$@\"", "sh"]);
    let said = stage.works(command);
    for word in ["the limit of nofile is 4096, not 1048570: raising it needs CAP_SYS_RESOURCE", "lowering it to -999 needs CAP_SYS_RESOURCE"] {
        assert!(said.lines().any(|l| l.starts_with("warning: ") && l.contains(word)), "no `{word}` in {said}");
    }
    let limit = stage.good(&["exec", "-T", "web", "grep", "open files", "/proc/1/limits"]).0;
    let limit = String::from_utf8_lossy(&limit.stdout).into_owned();
    assert_eq!(limit.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["4096", "4096"]);
    stage.good(&DOWN);
    stage.settles(&before).unwrap();
}

#[test]
fn file_systems_that_are_missing_or_different() {
    let Some((stage, _machine)) = Stage::new(PROJECT) else { return };
    let before = stage.before();
    let mounted = |script: &str| through(&stage.command(&UP), "unshare", &["-m", "sh", "-c", &format!("{script}; exec \"$@\""), "sh"]);
    let why = "error: no control groups are mounted on this machine (/sys/fs/cgroup): containers need them";
    stage.fails(mounted("umount -R -l /sys/fs/cgroup"), &[why, "`mount -t cgroup2 none /sys/fs/cgroup` mounts them"], &before);
    let script = "for m in $(awk '$5 ~ /^.sys.fs.cgroup/ {print $5}' /proc/self/mountinfo); do mount -o remount,bind,ro $m; done";
    stage.fails(mounted(script), &["error: the control group /sys/fs/cgroup/", " can't be used: it is mounted read-only; "], &before);
    // Nobody sees processes of others there; root does.
    stage.works(mounted("mount -t proc -o hidepid=2 proc /proc"));
    assert_eq!(hear(""), "hello\n");
    stage.good(&DOWN);
    stage.settles(&before).unwrap();

    let beside = stage.folder.with_file_name("beside");
    let at = |mut command: Command, state: &Path| {
        command.env("CONSORT_STATE_DIR", state);
        command
    };
    // Neither can hold the upper layer of an overlay: another overlay, and what can't be written to.
    let place = beside.join("overlay");
    for name in ["lower", "upper", "work", "overlay"] {
        fs::create_dir_all(beside.join(name)).unwrap();
    }
    let options = format!("lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work", beside.display());
    assert!(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(&place).status().unwrap().success());
    let _overlay = Unmounted(place.clone());
    let output = finished(at(stage.command(&UP), &place.join("state")).spawn().unwrap(), &UP);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("error: the file system of {}/state/upper/", place.display())), "{said}");
    assert!(said.contains("can't hold the layer of a container (overlayfs, NFS and some others can't)"), "{said}");
    stage.works(at(stage.command(&DOWN), &place.join("state")));
    assert!(Command::new("mount").args(["-o", "remount,ro"]).arg(&place).status().unwrap().success());
    let output = finished(at(stage.command(&UP), &place.join("other")).spawn().unwrap(), &UP);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("{}/other/images", place.display())) && said.contains("Read-only file system"), "{said}");

    // A full disk, at whatever step; with room the same command goes on.
    let place = beside.join("small");
    fs::create_dir_all(&place).unwrap();
    let _small = Mounted::memory(&place, "size=1m,nr_inodes=1000");
    stage.works(at(stage.command(&UP), &place));
    stage.works(at(stage.command(&DOWN), &place));
    let fill = place.join("fill");
    let mut failed = 0;
    for room in 0..12 {
        let mut file = fs::File::create(&fill).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        file.set_len(file.metadata().unwrap().len().saturating_sub(room * 4096)).unwrap();
        drop(file);
        let output = finished(at(stage.command(&UP), &place).spawn().unwrap(), &UP);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{said}");
        if !output.status.success() {
            failed += 1;
            assert!(said.contains("No space left on device") && said.contains("help: `consort system df` shows"), "{room}: {said}");
        }
        fs::remove_file(&fill).unwrap();
        stage.works(at(stage.command(&UP), &place));
        assert_eq!(hear(""), "hello\n");
        stage.works(at(stage.command(&DOWN), &place));
    }
    assert!(failed > 2, "{failed}");
    let left: Vec<_> = ["containers", "names", "volumes"].into_iter().flat_map(|f| fs::read_dir(place.join(f)).unwrap()).collect();
    assert!(left.is_empty(), "{left:?}");
}

struct Unmounted(PathBuf);

impl Drop for Unmounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_port_that_is_taken() {
    let Some((stage, _machine)) = Stage::new(PROJECT) else { return };
    let before = stage.before();
    let taken = TcpListener::bind("127.0.0.1:8080").unwrap();
    let why = format!("port 80 of {}-web-1 can't be published: host port 0.0.0.0:8080/tcp is taken by somebody else", stage.name);
    stage.fails(stage.command(&UP), &[&why], &before);
    // The failed one is still there: the next command starts it.
    assert!(!finished(stage.command(&UP).spawn().unwrap(), &UP).status.success());
    drop(taken);
    stage.good(&UP);
    assert_eq!(hear(""), "hello\n");
    stage.good(&DOWN);
    stage.settles(&before).unwrap();
}

#[test]
fn two_at_once() {
    let Some((stage, _machine)) = Stage::new(PROJECT) else { return };
    let before = stage.before();
    for (first, second) in [(&UP[..], &UP[..]), (&UP, &UP), (&UP, &DOWN), (&["up", "-d", "--force-recreate"], &UP), (&DOWN, &UP), (&DOWN, &DOWN)] {
        let what = format!("{first:?} and {second:?}");
        let children = [first, second].map(|words| stage.command(words).spawn().unwrap());
        for child in children {
            let output = finished(child, first);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!said.contains("panicked"), "{what}: {said}");
            // Who comes too late says what is in the way.
            assert!(output.status.success() || said.contains("error: "), "{what}: {said}");
        }
        stage.good(&UP);
        let there = stage.good(&["ps", "--all", "--quiet"]).0;
        assert_eq!(String::from_utf8_lossy(&there.stdout).lines().count(), 1, "{what}");
        assert_eq!(hear(&what), "hello\n");
    }
    stage.good(&DOWN);
    // The anonymous volume of a container that one replaced while the other removed it may be nobody's.
    stage.good(&["volume", "prune", "--force"]);
    stage.settles(&before).unwrap();
}

/// The command names the file; other projects know nothing of it; without the file the same command goes on.
#[test]
fn files_that_are_broken() {
    let Some((stage, _machine)) = Stage::new(PROJECT) else { return };
    let before = stage.before();
    let quiet = PROJECT.replace("    ports: ['8080:80']\n", "").replace("ROOT", stage.folder.with_file_name("root").to_str().unwrap());
    fs::write(stage.folder.join("other.yaml"), quiet).unwrap();
    let other = format!("{}-other", stage.name);
    let beside = |words: &[&str]| stage.works(stage.command_of(&other, "other.yaml", words));
    let output = |words: &[&str]| String::from_utf8(stage.good(words).0.stdout).unwrap();
    beside(&UP);
    let state = stage.home.state().to_owned();
    let cut = |file: &Path| {
        let text = fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        fs::write(file, &text[..text.len() / 2]).unwrap();
    };
    let refused = |file: &Path, words: &[&str]| {
        let output = finished(stage.command(words).spawn().unwrap(), words);
        let said = String::from_utf8_lossy(&output.stderr);
        let why = format!("{} can't be understood: ", file.display());
        assert!(!output.status.success() && said.contains(&why) && said.contains("; restore it, or remove this one file"), "{words:?}: {said}");
    };
    let undisturbed = |what: &str| {
        let listed = String::from_utf8(finished(stage.command(&["ls"]).spawn().unwrap(), &["ls"]).stdout).unwrap();
        assert!(listed.contains(&other), "{what}: {listed}");
        beside(&UP);
        beside(&["exec", "-T", "web", "true"]);
        beside(&["restart", "-t", "0"]);
        beside(&DOWN);
        beside(&UP);
    };
    let goes_on = |what: &str| {
        stage.good(&UP);
        assert_eq!(output(&["ps", "--quiet", "--status", "running"]).lines().count(), 1, "{what}");
        assert_eq!(hear(what), "hello\n");
        assert_eq!(output(&["exec", "-T", "web", "cat", "/data/kept"]), "kept\n", "{what}");
    };
    stage.good(&UP);
    stage.good(&["exec", "-T", "web", "sh", "-c", "echo kept > /data/kept"]);
    let id = || output(&["ps", "--quiet", "--no-trunc"]).trim().to_owned();

    for dead in [false, true] {
        let what = format!("the supervisor is dead: {dead}");
        let kill = || {
            if dead {
                stage.kill_supervisors();
            }
        };
        let file = state.join("containers").join(id()).join("container.json");
        cut(&file);
        kill();
        for words in [&["ps"][..], &UP, &DOWN] {
            refused(&file, words);
        }
        undisturbed(&what);
        fs::remove_file(&file).unwrap();
        // Of a container that isn't there any more the supervisor that has it in mind hears with the next change.
        stage.kill_supervisors();
        goes_on(&format!("container.json, {what}"));

        let file = state.join("containers").join(id()).join("state.json");
        cut(&file);
        kill();
        undisturbed(&what);
        goes_on(&format!("state.json, {what}"));

        let file = state.join("networks").join(format!("{}_default.json", stage.name));
        cut(&file);
        kill();
        refused(&file, &UP);
        undisturbed(&what);
        fs::remove_file(&file).unwrap();
        goes_on(&format!("network, {what}"));

        let file = state.join("volumes").join(format!("{}_data/volume.json", stage.name));
        cut(&file);
        kill();
        refused(&file, &UP);
        undisturbed(&what);
        fs::remove_file(&file).unwrap();
        goes_on(&format!("volume.json, {what}"));

        undisturbed(&what);
    }
    beside(&DOWN);
    stage.good(&DOWN);
    // Of a record that was taken away by hand content may be left, which `volume prune` takes; nothing else.
    stage.good(&["volume", "prune", "--force"]);
    let known = |line: &String| before.contains(line) || line.starts_with("file ") && line.contains(&format!("/projects/{other}"));
    stage.settles_so(&|now| now.iter().all(known)).unwrap();
}

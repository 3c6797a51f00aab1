//! What a container is made with: environment, command, user, limits, names.

use crate::lab::{Lab, Verdict};
use consort::world::{NetworkMode, Op, UlimitSpec};
use std::collections::BTreeMap;

crate::cases![
    environment_is_set,
    the_command_replaces_the_images,
    the_entrypoint_stands_before_the_command,
    the_user,
    the_working_folder,
    the_hostname,
    a_terminal_for_process_one,
    extra_hosts_are_known,
    name_servers_are_given,
    a_read_only_root,
    dropped_capabilities,
    added_capabilities,
    limits_of_processes,
    a_limit_of_memory,
    shared_memory,
    an_init_reaps_and_forwards,
    kernel_parameters,
    groups_of_the_user,
    privileges,
    a_log_driver_of_ones_own,
    labels_of_any_kind,
];

/// Only the kernel can show it.
const NO_KERNEL: Verdict = Verdict::NotCapable("a kernel to show it");

async fn environment_is_set(lab: &Lab) {
    let mut spec = lab.spec("web", "echo \"$A|$B|$C\"");
    let set = |v: &str| Some(v.to_owned());
    spec.environment = BTreeMap::from([("A".to_owned(), set("one = 1")), ("B".to_owned(), set("")), ("C".to_owned(), set("$A 'x'"))]);
    assert_eq!(lab.ran(&spec).await.stdout, "one = 1||$A 'x'\n");
}

async fn the_command_replaces_the_images(lab: &Lab) {
    let mut spec = lab.spec("web", "");
    spec.command = Some(["echo", "a  b", "$HOME"].map(str::to_owned).to_vec());
    assert_eq!(lab.ran(&spec).await.stdout, "a  b $HOME\n");
}

async fn the_entrypoint_stands_before_the_command(lab: &Lab) {
    let mut spec = lab.spec("web", "");
    spec.entrypoint = Some(["echo", "entry"].map(str::to_owned).to_vec());
    spec.command = Some(vec!["command".into()]);
    assert_eq!(lab.ran(&spec).await.stdout, "entry command\n");
    // An entry point of one's own drops the image's command.
    let mut spec = lab.spec("alone", "");
    spec.entrypoint = Some(["echo", "entry"].map(str::to_owned).to_vec());
    spec.command = None;
    assert_eq!(lab.ran(&spec).await.stdout, "entry\n");
}

async fn the_user(lab: &Lab) {
    let mut spec = lab.spec("web", "id -u; id -g");
    spec.user = "1234:56".into();
    assert_eq!(lab.ran(&spec).await.stdout, "1234\n56\n");
}

async fn the_working_folder(lab: &Lab) {
    let mut spec = lab.spec("web", "pwd");
    spec.working_dir = "/srv/app".into();
    assert_eq!(lab.ran(&spec).await.stdout, "/srv/app\n");
}

async fn the_hostname(lab: &Lab) {
    let mut spec = lab.spec("web", "hostname");
    spec.hostname = "server-one".into();
    assert_eq!(lab.ran(&spec).await.stdout, "server-one\n");
    let target = lab.run("other", "hostname").await;
    lab.exited(&target).await;
    let id = target.id.clone().unwrap();
    assert_eq!(lab.output(&target).await.0.trim(), &id[..12], "without a name the id is the name");
}

async fn a_terminal_for_process_one(lab: &Lab) {
    let mut spec = lab.spec("web", "test -t 1; echo $?");
    spec.tty = true;
    let target = lab.up(&spec).await;
    lab.exited(&target).await;
    assert!(lab.inspect(&target).await.tty);
    if lab.real {
        assert_eq!(lab.output(&target).await.0.trim_end(), "0");
    }
}

async fn extra_hosts_are_known(lab: &Lab) {
    let network = lab.network("net").await;
    let mut spec = lab.networked("web", "cat /etc/hosts", &network, &[]);
    spec.extra_hosts = vec!["somewhere:192.0.2.7".into()];
    let ran = lab.ran(&spec).await;
    assert!(ran.stdout.lines().any(|l| l.starts_with("192.0.2.7") && l.contains("somewhere")), "{}", ran.stdout);
}

async fn name_servers_are_given(lab: &Lab) {
    let mut spec = lab.spec("web", "cat /etc/resolv.conf");
    // On the engine's default network the file has them as they are; on others its own server asks them.
    spec.network_mode = NetworkMode::Other("bridge".into());
    spec.dns = vec!["192.0.2.53".into()];
    spec.dns_search = vec!["example.org".into()];
    spec.dns_options = vec!["ndots:3".into()];
    let text = lab.ran(&spec).await.stdout;
    for part in ["192.0.2.53", "example.org", "ndots:3"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

async fn a_read_only_root(lab: &Lab) {
    let mut spec = lab.spec("web", "echo x > /x || echo refused; echo y > /tmp/y && cat /tmp/y");
    spec.security.read_only = true;
    spec.tmpfs = BTreeMap::from([("/tmp".to_owned(), String::new())]);
    assert_eq!(lab.ran(&spec).await.stdout, "refused\ny\n");
}

/// The effective capabilities of a shell in a container.
async fn capabilities(lab: &Lab, spec: &consort::world::ContainerSpec) -> u64 {
    let text = lab.ran(spec).await.stdout;
    let bits = text.lines().find_map(|l| l.strip_prefix("CapEff:")).unwrap_or_else(|| panic!("{text}"));
    u64::from_str_radix(bits.trim(), 16).unwrap()
}

/// Whether the machine that the engine runs on keeps such containers from it. Tries with a container of another name.
async fn not_permitted(lab: &Lab, spec: &consort::world::ContainerSpec) -> Option<Verdict> {
    let mut spec = spec.clone();
    spec.name.push_str("-trial");
    let target = lab.create(&spec).await;
    match lab.apply(&Op::StartContainer { container: target }).await {
        Err(error) if error.to_string().contains("operation not permitted") => Some(Verdict::NotCapable("this (the machine doesn't let it)")),
        Err(error) => panic!("{error}"),
        Ok(_) => None,
    }
}

const CHOWN: u64 = 1;
const NET_ADMIN: u64 = 1 << 12;

async fn dropped_capabilities(lab: &Lab) -> Verdict {
    if !lab.real {
        return NO_KERNEL;
    }
    let mut spec = lab.spec("web", "cat /proc/self/status");
    spec.security.cap_drop = vec!["CHOWN".into()];
    assert_eq!(capabilities(lab, &spec).await & CHOWN, 0);
    let mut spec = lab.spec("all", "cat /proc/self/status");
    spec.security.cap_drop = vec!["ALL".into()];
    assert_eq!(capabilities(lab, &spec).await, 0);
    Verdict::Good
}

async fn added_capabilities(lab: &Lab) -> Verdict {
    if !lab.real {
        return NO_KERNEL;
    }
    let mut spec = lab.spec("web", "cat /proc/self/status");
    spec.security.cap_add = vec!["NET_ADMIN".into()];
    let all = capabilities(lab, &spec).await;
    assert!(all & NET_ADMIN != 0 && all & CHOWN != 0, "{all:x}");
    Verdict::Good
}

async fn limits_of_processes(lab: &Lab) -> Verdict {
    if !lab.real {
        return NO_KERNEL;
    }
    let mut spec = lab.spec("web", "ulimit -Sn; ulimit -Hn");
    spec.resources.ulimits = vec![UlimitSpec { name: "nofile".into(), soft: 512, hard: 1024 }];
    match not_permitted(lab, &spec).await {
        Some(verdict) => verdict,
        None => {
            assert_eq!(lab.ran(&spec).await.stdout, "512\n1024\n");
            Verdict::Good
        }
    }
}

async fn a_limit_of_memory(lab: &Lab) -> Verdict {
    if !lab.real {
        return NO_KERNEL;
    }
    let mut spec = lab.spec("web", "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes");
    spec.resources.memory = 64 * 1024 * 1024;
    let ran = lab.ran(&spec).await;
    if ran.stdout.is_empty() {
        return Verdict::NotCapable("memory limits (no such control group here)");
    }
    assert_eq!(ran.stdout.trim(), "67108864", "{ran:?}");
    Verdict::Good
}

async fn shared_memory(lab: &Lab) -> Verdict {
    if !lab.real {
        return NO_KERNEL;
    }
    let mut spec = lab.spec("web", "grep ' /dev/shm ' /proc/mounts");
    spec.resources.shm_size = 4 * 1024 * 1024;
    let text = lab.ran(&spec).await.stdout;
    assert!(text.contains("size=4096k"), "{text}");
    Verdict::Good
}

async fn an_init_reaps_and_forwards(lab: &Lab) {
    let mut spec = lab.spec("web", "echo ready; exec sleep 300");
    spec.init = Some(true);
    let target = lab.up_ready(&spec).await;
    let began = tokio::time::Instant::now();
    lab.stop(&target, Some(20)).await;
    // Without an init the kernel would keep the signal from process 1, which has no handler for it.
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
    assert_eq!(lab.inspect(&target).await.exit_code, 143);
}

async fn kernel_parameters(lab: &Lab) -> Verdict {
    if !lab.real {
        return NO_KERNEL;
    }
    let network = lab.network("net").await;
    let mut spec = lab.networked("web", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start", &network, &[]);
    spec.security.sysctls = BTreeMap::from([("net.ipv4.ip_unprivileged_port_start".to_owned(), "99".to_owned())]);
    assert_eq!(lab.ran(&spec).await.stdout, "99\n");
    Verdict::Good
}

async fn groups_of_the_user(lab: &Lab) -> Verdict {
    if !lab.real {
        return NO_KERNEL;
    }
    let mut spec = lab.spec("web", "id -G");
    spec.security.group_add = vec!["4321".into()];
    let text = lab.ran(&spec).await.stdout;
    assert!(text.split_whitespace().any(|g| g == "4321"), "{text}");
    Verdict::Good
}

async fn privileges(lab: &Lab) -> Verdict {
    if !lab.real {
        return NO_KERNEL;
    }
    let mut spec = lab.spec("web", "cat /proc/self/status");
    spec.security.privileged = true;
    if let Some(verdict) = not_permitted(lab, &spec).await {
        return verdict;
    }
    assert_ne!(capabilities(lab, &spec).await & NET_ADMIN, 0);
    Verdict::Good
}

async fn a_log_driver_of_ones_own(lab: &Lab) {
    let mut spec = lab.spec("web", "echo hello");
    let options = BTreeMap::from([("max-size".to_owned(), "1m".to_owned())]);
    spec.log = Some(consort::world::LogSpec { driver: "json-file".into(), options });
    let target = lab.up(&spec).await;
    lab.exited(&target).await;
    assert_eq!(lab.output(&target).await.0, "hello\n");
    assert!(!lab.inspect(&target).await.log_driver.is_empty());
}

async fn labels_of_any_kind(lab: &Lab) {
    let mut spec = lab.spec("web", "true");
    for (key, value) in [("empty", ""), ("with.dots/and-slash", "a=b,c"), ("umlaut", "grüße"), ("long", &"x".repeat(4000))] {
        spec.labels.insert(key.into(), value.into());
    }
    let target = lab.create(&spec).await;
    let seen = lab.observed(&target).await;
    for (key, value) in &spec.labels {
        assert_eq!(seen.label(key), Some(value.as_str()), "{key}");
    }
}

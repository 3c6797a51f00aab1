//! Commands and supervisors that are killed at any moment of their work, and everything on the machine that could be left
//! behind: counted before and after.
//!
//! The project runs on a network of its own, where every link and every table of rules is its.

use crate::stage::{Stage, finished, open};
use crate::support::{environment, say};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{BufRead as _, BufReader};
use std::process::Command;
use std::time::SystemTime;

/// Two networks, a published port, a named and an anonymous volume, probes, a small init, a terminal, a restart policy.
const PROJECT: &str = "
x-all: &all
  image: rootfs:ROOT
  stop_grace_period: 0s
  command: [sleep, '300']
services:
  web:
    <<: *all
    init: true
    networks: [front, back]
    ports: ['80', '127.0.0.1:8080:80/udp']
    volumes: ['/usr:/usr:ro', 'data:/data']
    healthcheck: {test: [CMD, 'true'], interval: 200ms, start_interval: 20ms, start_period: 5s}
  terminal:
    <<: *all
    tty: true
    networks: [back]
    volumes: ['/usr:/usr:ro', /cache]
    depends_on: {web: {condition: service_healthy}}
  worker:
    <<: *all
    networks: [front]
    restart: always
    volumes: ['/usr:/usr:ro']
    configs: [{source: text, target: /text}]
networks: {front: {}, back: {internal: true}}
volumes: {data: {}}
configs: {text: {content: text}}
";

/// xorshift: the same moments for the same seed.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below.max(1)
    }
}

#[test]
fn nothing_is_left_of_fifty_kills() {
    let Some((stage, _machine)) = Stage::new(PROJECT) else { return };
    let seed = environment("CONSORT_TEST_SEED")
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(|| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |d| u64::from(d.subsec_nanos()) | 1));
    say(&format!("kills: CONSORT_TEST_SEED={seed}"));
    let mut dice = Dice(seed);

    // The first time makes what stays for the next: folders, locks. And how long each takes.
    let up = ["up", "-d", "--wait"];
    let again = ["up", "-d", "--force-recreate"];
    let down = ["down", "--volumes"];
    let restart = ["restart"];
    let exec = ["exec", "-T", "web", "true"];
    let actions: [&[&str]; 5] = [&up, &again, &restart, &exec, &down];
    let lasts: Vec<u64> = actions.iter().map(|a| u64::try_from(stage.good(a).1.as_micros()).unwrap()).collect();
    say(&format!("kills: {lasts:?}"));
    let first = stage.census_at_rest();

    let mut is_up = false;
    let (mut cut, mut failed) = (0, 0);
    for round in 0..50 {
        let action = match dice.throw(6) {
            _ if !is_up => 0,
            5 => 4,
            n => usize::try_from(n).unwrap(),
        };
        let words = actions[action];
        let moment = dice.throw(lasts[action]);
        let who = dice.throw(3);
        let what = format!(
            "seed {seed}, round {round}: {words:?}, after {moment} µs {}",
            ["the command", "the supervisor", "both"][usize::try_from(who).unwrap()]
        );
        let mut child = stage.command(words).spawn().unwrap();
        let pidfd = open(child.id()).unwrap();
        let moment = i64::try_from(moment).unwrap();
        let timeout = Timespec { tv_sec: moment / 1_000_000, tv_nsec: moment % 1_000_000 * 1000 };
        let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)).unwrap();
        cut += usize::from(ended == 0);
        if who != 1 {
            let _ = child.kill();
        }
        if who != 0 {
            stage.kill_supervisors();
        }
        let output = finished(child, words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{what}: {said}");
        if who == 1 && !output.status.success() {
            failed += 1;
            assert!(said.lines().any(|l| l.contains("supervisor")), "{what}: {said}");
        }
        // The next command goes on from there.
        is_up = dice.throw(2) == 0;
        if is_up {
            let running = || {
                stage.good(&up);
                let running = stage.good(&["ps", "--quiet", "--status", "running"]).0;
                String::from_utf8_lossy(&running.stdout).lines().count()
            };
            // What a killed command had asked for last its supervisor still does: a container that is about to be stopped
            // runs, for who looks just then.
            assert!(running() == 3 || who == 0 && (0..5).any(|_| running() == 3), "{what}");
            if who == 0 && !finished(stage.command(&exec).spawn().unwrap(), &exec).status.success() {
                assert_eq!(running(), 3, "{what}");
            }
            stage.good(&exec);
        } else {
            stage.good(&down);
            stage.settles(&first).unwrap_or_else(|left| panic!("{what}: {left}"));
        }
    }
    stage.good(&down);
    stage.settles(&first).unwrap_or_else(|left| panic!("seed {seed}: {left}"));
    say(&format!("kills: {cut} of 50 commands were at work, {failed} of those whose supervisor was killed failed"));
    assert!(cut > 10, "too few commands were killed at work: {cut}");
}

/// It would wait for ever for what only a supervisor tells.
#[test]
fn a_command_that_waits_starts_another_supervisor() {
    let project = "
services:
  web:
    image: rootfs:ROOT
    network_mode: none
    stop_grace_period: 0s
    command: [sleep, '300']
    volumes: ['/usr:/usr:ro', 'data:/data']
    healthcheck: {test: [CMD, test, -e, /data/good], interval: 100ms, retries: 10000}
volumes: {data: {}}
";
    let Some((stage, _machine)) = Stage::new(project) else { return };
    let words = ["up", "-d", "--wait"];
    for round in ["new", "there already"] {
        let mut child = stage.command(&words).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap().ends_with("Waiting")), "{round}");
        stage.kill_supervisors();
        let good = stage.home.state().join("volumes").join(format!("{}_data/_data/good", stage.name));
        std::fs::write(&good, "").unwrap();
        let ended = finished(child, &words);
        assert!(ended.status.success(), "{round}: {:?}", said.collect::<Vec<_>>());
        std::fs::remove_file(&good).unwrap();
        // Of which the next round hears from the supervisor alone.
        let _ = stage.command(&["restart"]).output().unwrap();
    }
    stage.good(&["down", "--volumes"]);
}

/// Five networks, one of them with a bridge of a fixed name.
const NETWORKS: &str = "
services:
  web:
    image: rootfs:ROOT
    stop_grace_period: 0s
    command: [sleep, '300']
    networks: [a, b, c, d, e]
    ports: ['8080:80']
    volumes: ['/usr:/usr:ro']
networks: {a: {}, b: {}, c: {enable_ipv6: true}, d: {internal: true}, e: {driver_opts: {com.docker.network.bridge.name: mine}}}
";

fn said(program: &str, words: &[&str]) -> String {
    String::from_utf8(Command::new(program).args(words).output().unwrap().stdout).unwrap()
}

/// The kernel takes its time to remove links, and `down` doesn't wait for it: but nothing acts any more.
#[test]
fn nothing_acts_after_down_and_the_next_up_waits_for_nothing() {
    let Some((stage, _machine)) = Stage::new(NETWORKS) else { return };
    stage.good(&["up", "-d"]);
    stage.good(&["down"]);
    let rest = stage.census_at_rest();
    for round in 0..4 {
        stage.good(&["up", "-d"]);
        assert_eq!(said("ip", &["-o", "link", "show", "type", "bridge", "up"]).lines().count(), 5, "round {round}");
        let inside = stage.good(&["exec", "-T", "web", "ls", "/sys/class/net"]).0;
        assert_eq!(String::from_utf8_lossy(&inside.stdout).split_whitespace().count(), 6, "round {round}");
        stage.good(&["down"]);
        for what in [&["-o", "addr"][..], &["route"], &["-6", "route"], &["-o", "link", "show", "type", "bridge", "up"]] {
            let left = said("ip", what);
            assert!(!left.contains("cs-") && !left.contains("mine"), "round {round}: {left}");
        }
        assert_eq!(crate::net::tables(), Vec::<String>::new(), "round {round}");
        assert!(std::net::TcpListener::bind("0.0.0.0:8080").is_ok(), "round {round}: the port is still taken");
    }
    stage.settles(&rest).unwrap();
}

/// Whoever was to remove bridges was killed: the next command does it.
#[test]
fn bridges_that_were_forsaken_are_removed_by_the_next_command() {
    let Some((stage, _machine)) = Stage::new(NETWORKS) else { return };
    stage.good(&["up", "-d"]);
    let described = said("ip", &["-d", "link", "show", "mine"]);
    let alias = described.lines().find_map(|l| l.trim().strip_prefix("alias ")).unwrap().to_owned();
    stage.good(&["down"]);
    let rest = stage.census_at_rest();
    let leaving = stage.home.run().join("leaving");
    for next in ["up", "down"] {
        for bridge in ["cs-0123456789ab", "mine"] {
            assert!(Command::new("ip").args(["link", "add", bridge, "type", "bridge"]).status().unwrap().success());
            assert!(Command::new("ip").args(["link", "set", bridge, "alias", &alias]).status().unwrap().success());
            std::fs::write(leaving.join(bridge), "").unwrap();
        }
        // Those of others stay.
        assert!(Command::new("ip").args(["link", "add", "cs-other", "type", "bridge"]).status().unwrap().success());
        stage.good(if next == "up" { &["up", "-d"] } else { &["down"] });
        assert!(!said("ip", &["-o", "link"]).contains("cs-0123456789ab"), "{next}");
        assert!(Command::new("ip").args(["link", "del", "cs-other"]).status().unwrap().success());
        stage.good(&["down"]);
        stage.settles(&rest).unwrap_or_else(|left| panic!("{next}: {left}"));
    }
}

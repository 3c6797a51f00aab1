//! Networks of the embedded engine, looked at from inside: processes in network namespaces of their own stand for
//! containers. Nothing of what other engines have on the host is touched.

use consort::engine::embedded::Places;
use consort::engine::embedded::net::{self, Guest, Net};
use consort::engine::embedded::record::NetworkRecord;
use consort::world::{Attachment, EndpointSpec, EngineError, ErrorKind, IpamPoolSpec, NetworkSpec, PortSpec, PublishedPort};
use rustix::event::{PollFd, PollFlags, poll};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// Folders, a `Net`, networks and processes; all gone at the end.
struct World {
    places: Places,
    net: Net,
    networks: Vec<String>,
    _folder: TempDir,
}

/// A process in a network namespace of its own.
pub(crate) struct Inmate {
    id: String,
    names: Vec<String>,
    dns: Vec<String>,
    child: Child,
    pidfd: OwnedFd,
}

/// Whether this machine lets us; says so if not.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn may_run() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    #[expect(clippy::disallowed_methods, reason = "tests are told by the environment")]
    let required = std::env::var("CONSORT_TEST_ENGINES").is_ok_and(|v| v == "required");
    assert!(!required, "networks need root");
    eprintln!("skipped: networks need root");
    false
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let places = Places { state: folder.path().join("state"), run: folder.path().join("run") };
        let net = Net::new(&places, "p").unwrap();
        Self { places, net, networks: Vec::new(), _folder: folder }
    }

    fn network(&mut self, name: &str) -> NetworkRecord {
        self.network_with(&NetworkSpec { name: name.to_owned(), ..NetworkSpec::default() })
    }

    fn network_with(&mut self, spec: &NetworkSpec) -> NetworkRecord {
        let network = net::create(&self.places, spec).unwrap();
        self.networks.push(spec.name.clone());
        network
    }

    fn attach(&mut self, inmate: &Inmate, endpoints: &[EndpointSpec], ports: &[PortSpec]) -> (Vec<Attachment>, Vec<PublishedPort>) {
        self.try_attach(inmate, endpoints, ports).unwrap()
    }

    fn try_attach(
        &mut self,
        inmate: &Inmate,
        endpoints: &[EndpointSpec],
        ports: &[PortSpec],
    ) -> Result<(Vec<Attachment>, Vec<PublishedPort>), EngineError> {
        self.net.attach(&inmate.guest(), endpoints, ports)
    }

    /// Runs a command beside the server's work until it ends.
    fn run(&mut self, command: &mut Command) -> Output {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        self.until(move || child.wait_with_output().unwrap())
    }

    /// Does something in another thread while the name servers and proxies work.
    fn until<T: Send + 'static>(&mut self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, end) = rustix::pipe::pipe().unwrap();
        let job = std::thread::spawn(move || {
            let value = job();
            drop(end);
            value
        });
        loop {
            let descriptor = self.net.descriptor().map(|d| d.try_clone_to_owned().unwrap());
            let mut watched = vec![PollFd::new(&done, PollFlags::IN)];
            watched.extend(descriptor.as_ref().map(|d| PollFd::new(d, PollFlags::IN)));
            poll(&mut watched, None).unwrap();
            if !watched[0].revents().is_empty() {
                return job.join().unwrap();
            }
            self.net.turn();
        }
    }

    /// What a command in the namespace says, on both streams.
    fn inside(&mut self, inmate: &Inmate, script: &str) -> String {
        let output = self.run(&mut inmate.command(script));
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// Addresses that a name has for an inmate, sorted.
    fn lookup(&mut self, inmate: &Inmate, name: &str, kind: &str) -> Vec<String> {
        let said = self.inside(inmate, &format!("busybox nslookup -type={kind} {name} 127.0.0.11"));
        let mut found: Vec<String> = said.lines().skip(2).filter_map(|l| l.strip_prefix("Address: ").map(str::to_owned)).collect();
        if found.is_empty() && said.contains("can't find") {
            found.push(said.rsplit(' ').next().unwrap_or_default().trim().to_owned());
        }
        found.sort();
        found
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.net.clear();
        let places = self.places.clone();
        let left: Vec<_> = self.networks.drain(..).filter_map(|n| net::remove(&places, &n, None).err()).collect();
        let _ = net::sweep(&places);
        if !std::thread::panicking() {
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

impl Inmate {
    fn new(id: &str, names: &[&str]) -> Self {
        let mut child =
            Command::new("unshare").args(["-n", "sh", "-c", "echo; exec sleep 600"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        let id = format!("{id}{}", "0".repeat(64 - id.len()));
        Self { id, names: names.iter().map(|n| (*n).to_owned()).collect(), dns: Vec::new(), child, pidfd }
    }

    fn guest(&self) -> Guest<'_> {
        Guest { id: &self.id, names: &self.names, pidfd: self.pidfd.as_fd(), pid: self.child.id().cast_signed(), dns: &self.dns }
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "nsenter", "-n", "-t", &self.child.id().to_string(), "sh", "-c", script]);
        command
    }

    /// What a thread in the namespace makes: sockets belong where they were made.
    fn within<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        let enter = || rustix::thread::move_into_thread_name_spaces(self.pidfd.as_fd(), rustix::thread::ThreadNameSpaceType::NETWORK);
        std::thread::scope(|scope| {
            let made = scope.spawn(|| {
                enter().unwrap();
                job()
            });
            made.join().unwrap()
        })
    }

    /// A server that says `text` to whoever connects, by TCP.
    fn serve(&self, port: u16, text: &str) -> Served {
        let script = format!("echo ready; exec busybox nc -ll -p {port} -e sh -c 'read line; echo {text}'");
        let mut child = self.command(&script).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        // It has said so before it listens; until then connections are refused.
        let listens = |pid: u32| {
            let table = format!("{}{}", read(&format!("/proc/{pid}/net/tcp")), read(&format!("/proc/{pid}/net/tcp6")));
            table.lines().any(|l| l.contains(&format!(":{port:04X} ")) && l.contains(" 0A "))
        };
        while !listens(self.child.id()) {
            assert!(child.try_wait().unwrap().is_none(), "the server doesn't start");
            std::thread::yield_now();
        }
        Served(child)
    }
}

struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Inmate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn on(network: &str) -> EndpointSpec {
    EndpointSpec { network: network.to_owned(), ..EndpointSpec::default() }
}

fn port(target: u16, published: &str, protocol: &str) -> PortSpec {
    PortSpec { target, protocol: protocol.to_owned(), host_ip: String::new(), published: published.to_owned() }
}

/// What somebody at this address says.
fn hear(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, std::time::Duration::from_secs(3))?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(3)))?;
    let _ = stream.write_all(b"\n");
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

#[test]
fn a_container_gets_an_address_a_route_and_names() {
    if !may_run() {
        return;
    }
    let mut world = World::new();
    let network = world.network("plain");
    let (a, b) = (Inmate::new("aaaaaaaaaaaa", &["p-a-1", "a"]), Inmate::new("bbbbbbbbbbbb", &["p-b-1", "b"]));
    let (of_a, _) = world.attach(&a, &[on("plain")], &[]);
    let (of_b, _) = world.attach(&b, &[EndpointSpec { aliases: vec!["Other".to_owned()], ..on("plain") }], &[]);
    let gateway = network.subnets[0].gateway.to_string();

    let links = world.inside(&a, "ip -o -4 addr; ip route; ip -6 -o addr");
    assert!(links.contains("eth0") && links.contains(&of_a[0].ipv4), "{links}");
    assert!(links.contains(&format!("default via {gateway} dev eth0")), "{links}");
    assert!(links.contains("::1/128") && !links.contains("fe80"), "{links}");
    assert_eq!(world.net.host_gateway(&a.id).unwrap().to_string(), gateway);

    let reached = world.inside(&a, &format!("busybox ping -c1 -W2 {} && busybox ping -c1 -W2 {gateway}", of_b[0].ipv4));
    assert_eq!(reached.matches(" 0% packet loss").count(), 2, "{reached}");

    for name in ["b", "B", "p-b-1", "other", "OTHER.plain", "b.plain", "bbbbbbbbbbbb"] {
        assert_eq!(world.lookup(&a, name, "a"), std::slice::from_ref(&of_b[0].ipv4), "{name}");
    }
    // Known, but without such an address: no error, so that nobody goes on searching.
    let said = world.inside(&a, "busybox nslookup -type=aaaa b 127.0.0.11");
    assert!(!said.contains("can't find") && !said.contains("Address: "), "{said}");
    let backwards = world.inside(&a, &format!("busybox nslookup -type=ptr {} 127.0.0.11", reversed(&of_b[0].ipv4)));
    assert!(backwards.contains("name = p-b-1.plain"), "{backwards}");
    world.net.rename(&b.id, "p-b-Old").unwrap();
    for name in ["b", "other", "p-b-old", "bbbbbbbbbbbb"] {
        assert_eq!(world.lookup(&a, name, "a"), std::slice::from_ref(&of_b[0].ipv4), "{name}");
    }
    assert_ne!(world.lookup(&a, "p-b-1", "a"), std::slice::from_ref(&of_b[0].ipv4));
    let backwards = world.inside(&a, &format!("busybox nslookup -type=ptr {} 127.0.0.11", reversed(&of_b[0].ipv4)));
    assert!(backwards.contains("name = p-b-Old.plain"), "{backwards}");
    world.net.detach(&b.id);
    assert_ne!(world.lookup(&a, "b", "a"), std::slice::from_ref(&of_b[0].ipv4));
}

fn reversed(address: &str) -> String {
    let mut parts: Vec<&str> = address.split('.').collect();
    parts.reverse();
    format!("{}.in-addr.arpa", parts.join("."))
}

#[test]
fn published_ports_are_reached_from_everywhere() {
    if !may_run() {
        return;
    }
    let mut world = World::new();
    world.network("one");
    world.network("two");
    let (a, b, c) = (Inmate::new("a1", &["a"]), Inmate::new("b1", &["b"]), Inmate::new("c1", &["c"]));
    let (_, ports) = world.attach(&a, &[on("one")], &[port(80, "", "tcp")]);
    world.attach(&b, &[on("one")], &[]);
    world.attach(&c, &[on("two")], &[]);
    let _server = a.serve(80, "hello");
    let published = ports[0].host_port;
    assert!(ports.iter().any(|p| p.host_ip == "::" && p.host_port == published), "{ports:?}");
    let host = first_address();
    for address in [format!("127.0.0.1:{published}"), format!("[::1]:{published}"), format!("{host}:{published}")] {
        let to: SocketAddr = address.parse().unwrap();
        let heard = world.until(move || hear(to));
        assert_eq!(heard.unwrap_or_else(|e| panic!("{address}: {e}")), "hello");
    }
    for (who, inmate) in [("itself", &a), ("a neighbour", &b), ("another network", &c)] {
        let said = world.inside(inmate, &format!("echo | busybox nc -w 3 {host} {published}"));
        assert_eq!(said.trim(), "hello", "{who}");
    }
    // A taken port is said to be so, and by whom it isn't: nothing is left of the attempt.
    let taken = world.try_attach(&Inmate::new("d1", &["d"]), &[on("one")], &[port(80, &published.to_string(), "tcp")]).unwrap_err();
    assert_eq!(taken.kind, ErrorKind::PortTaken);
    assert!(taken.what.contains(&format!("0.0.0.0:{published}")), "{taken}");
    world.net.detach(&a.id);
    let to: SocketAddr = format!("127.0.0.1:{published}").parse().unwrap();
    assert_eq!(world.until(move || hear(to)).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}

/// An address of this machine that isn't loopback.
fn first_address() -> String {
    let output = Command::new("hostname").arg("-I").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().find(|a| a.contains('.')).expect("an address").to_owned()
}

#[test]
fn networks_are_apart_and_internal_ones_closed() {
    if !may_run() {
        return;
    }
    let mut world = World::new();
    world.network("one");
    world.network("two");
    world.network_with(&NetworkSpec { name: "closed".to_owned(), internal: true, ..NetworkSpec::default() });
    let (a, b) = (Inmate::new("a2", &["a"]), Inmate::new("b2", &["b"]));
    let (c, d) = (Inmate::new("c2", &["c"]), Inmate::new("d2", &["d"]));
    let (of_a, _) = world.attach(&a, &[on("one")], &[]);
    world.attach(&b, &[on("two")], &[]);
    let (of_c, _) = world.attach(&c, &[on("closed")], &[]);
    world.attach(&d, &[on("closed")], &[]);
    let blocked = |said: &str| said.contains("100% packet loss") || said.contains("unreachable");
    let said = world.inside(&b, &format!("busybox ping -c1 -W1 {}", of_a[0].ipv4));
    assert!(blocked(&said), "{said}");
    // Even one who makes himself a route gets nowhere.
    let host = first_address();
    let said = world.inside(&c, &format!("ip route; ip route add default via {}; busybox ping -c1 -W1 {}", gateway_of(&of_c[0].ipv4), of_a[0].ipv4));
    assert!(!said.contains("default") && blocked(&said), "{said}");
    let said = world.inside(&a, &format!("busybox ping -c1 -W1 {}", of_c[0].ipv4));
    assert!(blocked(&said), "{said}");
    let said =
        world.inside(&d, &format!("busybox ping -c1 -W2 {}; busybox nslookup c 127.0.0.11; busybox nslookup example.org 127.0.0.11", of_c[0].ipv4));
    assert!(said.contains(" 0% packet loss") && said.contains(&format!("Address: {}", of_c[0].ipv4)), "{said}");
    assert!(said.contains("SERVFAIL"), "an internal network asks nobody outside: {said}");
    // The way out is open for others.
    let said = world.inside(&a, &format!("busybox ping -c1 -W2 {host}"));
    assert!(said.contains(" 0% packet loss"), "{said}");
}

fn gateway_of(address: &str) -> String {
    let mut parts: Vec<&str> = address.split('.').collect();
    parts[3] = "1";
    parts.join(".")
}

#[test]
fn several_networks_fixed_addresses_and_names_of_interfaces() {
    if !may_run() {
        return;
    }
    let mut world = World::new();
    let pool = |subnet: &str| vec![IpamPoolSpec { subnet: subnet.to_owned(), ..IpamPoolSpec::default() }];
    world.network_with(&NetworkSpec { name: "front".to_owned(), pools: pool("10.213.77.0/24"), ..NetworkSpec::default() });
    world.network_with(&NetworkSpec { name: "back".to_owned(), ipv6: Some(true), ..NetworkSpec::default() });
    world.network("late");
    let a = Inmate::new("a3", &["a"]);
    let front = EndpointSpec {
        ipv4: "10.213.77.9".to_owned(),
        mac_address: "02:00:00:00:00:09".to_owned(),
        link_local: vec!["169.254.7.7".to_owned()],
        ..on("front")
    };
    let back = EndpointSpec { gateway_priority: 1, interface_name: "inner0".to_owned(), ..on("back") };
    let (attachments, _) = world.attach(&a, &[front, back], &[]);
    assert_eq!(attachments[0].ipv4, "10.213.77.9");
    let said = world.inside(&a, "ip -o addr; ip -o link; ip route; ip -6 route");
    for part in ["10.213.77.9/24", "169.254.7.7/16", "02:00:00:00:00:09", "inner0", &attachments[1].ipv4, &attachments[1].ipv6] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!attachments[1].ipv6.is_empty());
    assert_eq!(said.lines().filter(|l| l.starts_with("default")).filter(|l| l.contains("dev inner0")).count(), 2, "{said}");
    assert_eq!(said.lines().filter(|l| l.starts_with("default")).count(), 2, "{said}");

    let late = world.net.connect(&a.guest(), &EndpointSpec { gateway_priority: 5, ..on("late") }).unwrap();
    let said = world.inside(&a, "ip -o addr; ip route");
    assert!(said.contains(&late.ipv4) && said.contains("default via") && said.contains("dev eth1"), "{said}");
    let b = Inmate::new("b3", &["b"]);
    world.attach(&b, &[on("late")], &[]);
    assert_eq!(world.lookup(&b, "a", "a"), std::slice::from_ref(&late.ipv4));
    assert_eq!(world.lookup(&a, "b", "a").len(), 1);
    world.net.connect(&b.guest(), &on("back")).unwrap();
    assert_eq!(world.lookup(&b, "a", "a"), std::slice::from_ref(&late.ipv4), "one container, one address");
    world.net.disconnect(&a.guest(), "late").unwrap();
    let said = world.inside(&a, "ip -o addr; ip route");
    assert!(!said.contains(&late.ipv4) && said.contains("dev inner0"), "{said}");
    assert_eq!(world.net.disconnect(&a.guest(), "late").unwrap_err().kind, ErrorKind::NotFound);
    let in_use = net::remove(&world.places, "front", None).unwrap_err();
    assert!(in_use.what.contains("container a is connected"), "{in_use}");
}

#[test]
fn nothing_is_left_of_networks_and_of_those_who_crashed() {
    if !may_run() {
        return;
    }
    let mut world = World::new();
    let network = world.network("net");
    let a = Inmate::new("a4", &["a"]);
    let (attachments, ports) = world.attach(&a, &[on("net")], &[port(80, "", "tcp"), port(53, "", "udp")]);
    let server = a.serve(80, "still here");
    // The supervisor is killed: what it held open is closed, what it made stays.
    let places = world.places.clone();
    let crashed = std::mem::replace(&mut world.net, Net::new(&places, "p").unwrap());
    drop(crashed.abandon());
    world.net.adopt(&a.guest(), &[on("net")], &ports).unwrap();
    assert_eq!(world.net.notes(), Vec::<String>::new());
    let to: SocketAddr = format!("127.0.0.1:{}", ports[0].host_port).parse().unwrap();
    assert_eq!(world.until(move || hear(to)).unwrap(), "still here");
    assert_eq!(world.lookup(&a, "a", "a"), std::slice::from_ref(&attachments[0].ipv4));
    drop(server);
    // Now all die at once, and the record is lost too.
    let crashed = std::mem::replace(&mut world.net, Net::new(&places, "p").unwrap());
    drop(crashed.abandon());
    drop(a);
    net::sweep(&places).unwrap();
    assert!(std::path::Path::new(&format!("/sys/class/net/{}", network.bridge)).exists(), "a network with a record stays");
    assert_eq!(std::fs::read_dir(places.leases(&network.id)).unwrap().flatten().filter(|e| e.file_name() != "lock").count(), 0);
    std::fs::remove_file(places.networks().join("net.json")).unwrap();
    net::sweep(&places).unwrap();
    assert!(!std::path::Path::new(&format!("/sys/class/net/{}", network.bridge)).exists());
    assert!(!places.leases(&network.id).exists());
}

#[test]
fn what_cannot_be_honoured_is_refused_in_words() {
    if !may_run() {
        return;
    }
    let mut world = World::new();
    let spec = |name: &str| NetworkSpec { name: name.to_owned(), ..NetworkSpec::default() };
    let said = |spec: &NetworkSpec| net::create(&world.places, spec).unwrap_err().what;
    assert!(said(&NetworkSpec { driver: "macvlan".to_owned(), ..spec("m") }).contains("wants driver macvlan"));
    assert!(said(&spec("host")).contains("always there"));
    assert!(said(&spec("../x")).contains("can't be the name"));
    let option = |key: &str, value: &str| NetworkSpec { driver_options: BTreeMap::from([(key.to_owned(), value.to_owned())]), ..spec("o") };
    assert!(said(&option("com.docker.network.driver.mtu", "big")).contains("a number from 68"));
    assert!(said(&option("com.docker.network.bridge.name", "much-too-long-a-name")).contains("at most 15"));
    assert!(said(&option("parent", "eth0")).contains("isn't known: parent"));
    let pool = |subnet: &str, range: &str, gateway: &str| NetworkSpec {
        pools: vec![IpamPoolSpec { subnet: subnet.to_owned(), ip_range: range.to_owned(), gateway: gateway.to_owned(), ..IpamPoolSpec::default() }],
        ..spec("q")
    };
    assert!(said(&pool("10.1.2.3/24", "", "")).contains("it should be 10.1.2.0/24"));
    assert!(said(&pool("10.214.0.0/24", "10.215.0.0/25", "")).contains("not within subnet"));
    assert!(said(&pool("10.214.0.0/24", "", "10.215.0.1")).contains("no address in subnet"));
    assert!(said(&pool("127.0.0.0/8", "", "")).contains("overlaps"));
    world.network("there");
    let there = net::create(&world.places, &spec("there")).unwrap_err();
    assert_eq!(there.kind, ErrorKind::Conflict);
    let a = Inmate::new("a5", &["a"]);
    assert_eq!(world.try_attach(&a, &[on("absent")], &[]).unwrap_err().kind, ErrorKind::NotFound);
    let twice = world.try_attach(&a, &[on("there"), on("there")], &[]).unwrap_err();
    assert!(twice.what.contains("already"), "{twice}");
    assert!(!net::remove(&world.places, "absent", None).unwrap());
    assert!(!net::remove(&world.places, "there", Some("another")).unwrap());
}

/// A machine of its own for one test: this thread and what it starts see no other network.
pub(crate) fn enter_machine() -> Inmate {
    let machine = Inmate::new("ffff", &["machine"]);
    let network = rustix::thread::ThreadNameSpaceType::NETWORK;
    rustix::thread::move_into_thread_name_spaces(machine.pidfd.as_fd(), network).unwrap();
    machine
}

/// Names of all tables of rules (nf_tables) of this thread's network.
pub(crate) fn tables() -> Vec<String> {
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto, socket_with};
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::NETFILTER)).unwrap();
    // struct nlmsghdr: 20 bytes, NFT_MSG_GETTABLE, a request for all; struct nfgenmsg: any family.
    let mut request = Vec::from(20_u32.to_ne_bytes());
    request.extend((10_u16 << 8 | 1).to_ne_bytes());
    request.extend(0x301_u16.to_ne_bytes());
    request.extend([0; 12]);
    sendto(&socket, &request, SendFlags::empty(), &netlink::SocketAddrNetlink::new(0, 0)).unwrap();
    let mut names = Vec::new();
    loop {
        let mut buffer = vec![0; 64 << 10];
        let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty()).unwrap();
        let mut rest = &buffer[..length];
        while rest.len() >= 20 {
            let size = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
            let kind = u16::from_ne_bytes(rest[4..6].try_into().unwrap());
            // NLMSG_ERROR, NLMSG_DONE.
            if kind == 2 || kind == 3 {
                return names;
            }
            // NFTA_TABLE_NAME is the first attribute.
            let text = rest[24..size].split(|b| *b == 0).next().unwrap();
            names.push(String::from_utf8_lossy(text).into_owned());
            rest = &rest[size.next_multiple_of(4).min(rest.len())..];
        }
    }
}

/// A machine on the same cable as the one this thread is in: 203.0.113.1 here, 203.0.113.2 there.
fn neighbour() -> Inmate {
    let outside = Inmate::new("eeee", &["outside"]);
    let pid = outside.child.id();
    let script = format!(
        "set -e; ip link set lo up; ip link add up0 type veth peer name up1 netns {pid}; ip addr add 203.0.113.1/24 dev up0; ip link set up0 up"
    );
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    let there = outside.command("ip link set lo up; ip addr add 203.0.113.2/24 dev up1; ip link set up1 up").status();
    assert!(there.unwrap().success());
    outside
}

/// Whoever has asked by UDP before is led on by the kernel to where he was led: that is forgotten with the port.
#[test]
fn who_goes_on_asking_by_udp_reaches_the_container_of_now() {
    if !may_run() {
        return;
    }
    let _machine = enter_machine();
    let outside = neighbour();
    let mut world = World::new();
    world.network("net");
    let client = outside.within(|| UdpSocket::bind("203.0.113.2:4000").unwrap());
    let ask = |word: &[u8]| {
        // What nobody listened to before is told here, once.
        while client.send_to(word, "203.0.113.1:5353").is_err() {}
    };
    let server = |inmate: &Inmate| {
        let socket = inmate.within(|| UdpSocket::bind("0.0.0.0:53").unwrap());
        socket.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        socket
    };
    let heard = |socket: &UdpSocket| {
        let mut buffer = [0; 64];
        let (length, from) = socket.recv_from(&mut buffer).map_err(|e| e.to_string())?;
        socket.send_to(b"well", from).map_err(|e| e.to_string())?;
        Ok::<_, String>(buffer[..length].to_vec())
    };
    ask(b"nobody");
    let (a, b, c) = (Inmate::new("aa", &["a"]), Inmate::new("bb", &["b"]), Inmate::new("cc", &["c"]));
    let (of_a, _) = world.attach(&a, &[on("net")], &[port(53, "5353", "udp")]);
    let at_a = server(&a);
    ask(b"first");
    assert_eq!(heard(&at_a), Ok(b"first".to_vec()));
    world.net.detach(&a.id);
    // Somebody else has the address now.
    let (of_b, _) = world.attach(&b, &[on("net")], &[]);
    assert_eq!(of_b[0].ipv4, of_a[0].ipv4);
    world.attach(&c, &[on("net")], &[port(53, "5353", "udp")]);
    let at_c = server(&c);
    ask(b"second");
    assert_eq!(heard(&at_c), Ok(b"second".to_vec()));
}

/// A published port is reached by IPv6 too, from another machine.
#[test]
fn a_published_port_is_reached_by_ipv6_from_outside() {
    if !may_run() {
        return;
    }
    let _machine = enter_machine();
    let outside = neighbour();
    let here = "ip -6 addr add 2001:db8::1/64 dev up0 nodad";
    assert!(Command::new("sh").args(["-c", here]).status().unwrap().success());
    assert!(outside.command("ip -6 addr add 2001:db8::2/64 dev up1 nodad").status().unwrap().success());
    let mut world = World::new();
    world.network_with(&NetworkSpec { name: "six".to_owned(), ipv6: Some(true), ..NetworkSpec::default() });
    let a = Inmate::new("a66", &["a"]);
    let (_, ports) = world.attach(&a, &[on("six")], &[port(80, "", "tcp")]);
    let _web = a.serve(80, "hello");
    let published = ports.iter().find(|p| p.host_ip == "::").unwrap().host_port;
    let asked = outside.within(|| std::net::TcpStream::connect_timeout(&format!("[2001:db8::1]:{published}").parse().unwrap(), TIMEOUT));
    let said = world.until(move || {
        use std::io::{Read as _, Write as _};
        let mut stream = asked?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(b"\n")?;
        let mut said = String::new();
        stream.read_to_string(&mut said).map(|_| said)
    });
    assert_eq!(said.unwrap().trim(), "hello");
}

const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// The way in and out, on a machine whose other rules are made by `prepare`. What the engine had to say.
fn in_and_out(prepare: &str) -> Vec<String> {
    let _machine = enter_machine();
    let outside = neighbour();
    assert!(Command::new("sh").args(["-c", prepare]).status().unwrap().success(), "{prepare}");
    let mut world = World::new();
    world.network("net");
    let a = Inmate::new("a6", &["a"]);
    let (of_a, ports) = world.attach(&a, &[on("net")], &[port(80, "", "tcp"), port(53, "8053", "udp")]);
    let _web = a.serve(80, "hello");
    let echo = a.within(|| UdpSocket::bind("0.0.0.0:53").unwrap());
    let _echo = std::thread::spawn(move || {
        let mut buffer = [0; 64];
        // Ends with the test's process at the latest.
        while let Ok((length, from)) = echo.recv_from(&mut buffer) {
            let _ = echo.send_to(&buffer[..length], from);
        }
    });
    let published = ports[0].host_port;
    let said = world.inside(&outside, &format!("echo | busybox nc -w 3 203.0.113.1 {published}"));
    assert_eq!(said.trim(), "hello", "from outside");
    for (who, asker) in [("outside", Some(&outside)), ("the loopback", None)] {
        let host = if asker.is_some() { "203.0.113.1:8053" } else { "127.0.0.1:8053" };
        let bind = || UdpSocket::bind("0.0.0.0:0").unwrap();
        let socket = asker.map_or_else(bind, |inmate| inmate.within(bind));
        let heard = world.until(move || {
            let mut buffer = [0; 64];
            socket.set_read_timeout(Some(std::time::Duration::from_secs(3))).unwrap();
            socket.connect(host).unwrap();
            socket.send(b"word").unwrap();
            socket.recv(&mut buffer).map(|length| buffer[..length].to_vec())
        });
        assert_eq!(heard.unwrap_or_else(|e| panic!("by UDP from {who}: {e}")), b"word");
    }
    let to: SocketAddr = format!("127.0.0.1:{published}").parse().unwrap();
    assert_eq!(world.until(move || hear(to)).unwrap(), "hello", "from the loopback");
    // Nobody outside knows the container's address, nor reaches it by a route of his own.
    let script =
        format!("ip route add {0} via 203.0.113.1; busybox ping -c1 -W1 {0}; busybox nc -w 1 {0} 80 </dev/null; ip route del {0}", of_a[0].ipv4);
    let said = world.inside(&outside, &script);
    assert!(said.contains("100% packet loss") && !said.contains("hello"), "{said}");
    let notes = world.net.notes();
    if notes.is_empty() {
        let said = world.inside(&a, "busybox ping -c1 -W2 203.0.113.2");
        assert!(said.contains(" 0% packet loss"), "the way out: {said}");
    }
    world.net.detach(&a.id);
    assert!(net::remove(&world.places, "net", None).unwrap());
    world.networks.clear();
    // Links, rules: as before.
    let left = Command::new("sh").args(["-c", "ip -br link | grep cs-; iptables-nft-save | grep cs-"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
    notes
}

#[test]
fn the_way_in_and_out_of_a_bare_machine() {
    if may_run() {
        assert_eq!(in_and_out("true"), Vec::<String>::new());
    }
}

#[test]
fn a_firewall_that_drops_what_is_forwarded_lets_containers_pass() {
    if may_run() {
        // What Docker does to a machine.
        let docker = "iptables-nft -N DOCKER-USER; iptables-nft -A DOCKER-USER -j RETURN; iptables-nft -I FORWARD -j DOCKER-USER; \
            iptables-nft -P FORWARD DROP; ip6tables-nft -P FORWARD DROP";
        assert_eq!(in_and_out(docker), Vec::<String>::new());
    }
}

#[test]
fn where_rules_cannot_help_the_proxy_does() {
    if may_run() {
        let notes = in_and_out("iptables-legacy -P FORWARD DROP");
        assert!(notes.len() == 1 && notes[0].starts_with("the rules of iptables-legacy may drop"), "{notes:?}");
    }
}

#[test]
fn other_names_are_asked_elsewhere() {
    if !may_run() {
        return;
    }
    let mut world = World::new();
    world.network("net");
    let server = Inmate::new("a7", &["server"]);
    let (of_server, _) = world.attach(&server, &[on("net")], &[]);
    // It knows one name, and answers nothing else.
    let socket = server.within(|| UdpSocket::bind("0.0.0.0:53").unwrap());
    let _names = std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let mut answer = buffer[..length].to_vec();
            if answer.windows(12).any(|w| w == b"\x03far\x07example") {
                (answer[2], answer[3], answer[7]) = (0x81, 0x80, 1);
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 51, 100, 7]);
                socket.send_to(&answer, from).unwrap();
            }
        }
    });
    let mut asker = Inmate::new("b7", &["asker"]);
    // The first server is not there: the next one is asked at once, as nobody listens.
    asker.dns = vec!["127.0.0.9".to_owned(), of_server[0].ipv4.clone()];
    world.attach(&asker, &[EndpointSpec { links: vec!["server:friend".to_owned()], ..on("net") }], &[]);
    assert_eq!(world.lookup(&asker, "far.example", "a"), ["198.51.100.7"]);
    assert_eq!(world.lookup(&asker, "friend", "a"), std::slice::from_ref(&of_server[0].ipv4));
    assert_ne!(world.lookup(&server, "friend", "a"), std::slice::from_ref(&of_server[0].ipv4), "links are the asker's own");
    // By TCP: two questions in one breath, as RFC 7766 allows.
    let question = |id: u8, name: &str| {
        let mut bytes = vec![0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, u8::try_from(name.len()).unwrap()];
        bytes.extend(name.bytes());
        bytes.extend([0, 0, 1, 0, 1]);
        bytes.insert(0, u8::try_from(bytes.len()).unwrap());
        bytes.insert(0, 0);
        bytes.iter().map(|b| format!("\\{b:03o}")).collect::<String>()
    };
    let script = format!("printf '{}{}' | busybox nc -w 2 127.0.0.11 53", question(7, "server"), question(8, "asker"));
    let said = world.run(&mut asker.command(&script));
    let address: std::net::Ipv4Addr = of_server[0].ipv4.parse().unwrap();
    assert!(said.stdout.windows(4).any(|w| w == address.octets()), "{said:?}");
    assert_eq!(said.stdout[2..4], [0, 7]);
    assert!(said.stdout.windows(3).any(|w| w == [0, 8, 0x81]), "{said:?}");
}

#[test]
#[ignore = "prints what a container costs"]
#[expect(clippy::print_stderr, reason = "figures are for reading")]
fn cost() {
    let _machine = enter_machine();
    let mut world = World::new();
    let clock = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let micros =
        |from: rustix::time::Timespec, to: rustix::time::Timespec| (to.tv_sec - from.tv_sec) * 1_000_000 + (to.tv_nsec - from.tv_nsec) / 1000;
    let start = clock();
    world.network("net");
    eprintln!("network {} us", micros(start, clock()));
    let inmates: Vec<Inmate> = (0..50).map(|i| Inmate::new(&format!("{i:012x}"), &["web"])).collect();
    for (what, ports) in [("without ports", vec![]), ("with a port", vec![port(80, "", "tcp")])] {
        let start = clock();
        for inmate in &inmates {
            world.attach(inmate, &[on("net")], &ports);
        }
        let attached = clock();
        for inmate in &inmates {
            world.net.detach(&inmate.id);
        }
        eprintln!("{what}: attach {} us, detach {} us each", micros(start, attached) / 50, micros(attached, clock()) / 50);
        // Their cables are in the way of the next round.
        for inmate in &inmates {
            let _ = inmate.command("ip link del eth0").status();
        }
    }
}

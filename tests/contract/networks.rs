//! Networks: names, addresses, connections, published ports.

use crate::lab::{Lab, Verdict};
use crate::support;
use consort::world::{EndpointSpec, ErrorKind, IpamPoolSpec, NetworkMode, NetworkSpec, ObserveQuery, Op};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

crate::cases![
    aliases_and_names_are_resolved,
    name_servers_of_ones_own_do_not_hide_names,
    an_unknown_name_is_not_resolved,
    addresses_can_be_fixed,
    several_networks_at_creation,
    a_running_container_can_be_connected_and_disconnected,
    a_second_connection_changes_nothing,
    an_internal_network_has_no_way_out,
    networks_are_seen_with_labels_and_by_name,
    a_network_in_use_is_not_removed,
    a_taken_network_name_is_a_conflict,
    an_unknown_network_is_not_found,
    no_network_at_all,
    the_network_of_another_container,
    driver_options_and_pools,
    published_ports_are_seen_and_reached,
    a_taken_port_says_so,
    the_engine_chooses_a_port,
    a_port_on_one_address,
    ports_of_udp,
    a_free_port_of_a_range_is_taken,
];

/// Servers that live as long as their container is wanted.
const SERVE: &str = "while true; do echo hello | nc -l -p 80; done";

/// A subnet that no other case uses: engines refuse those that overlap. Podman's own begin with 10.89.
fn subnet(lab: &Lab, third: u8) -> (String, String) {
    let sum: u32 = lab.project.bytes().map(u32::from).fold(7, |a, b| a.wrapping_mul(31).wrapping_add(b));
    let second = sum % 100 + 120;
    (format!("10.{second}.{third}.0/24"), format!("10.{second}.{third}.77"))
}

fn with_pool(lab: &Lab, name: &str, subnet: &str) -> NetworkSpec {
    let pools = vec![IpamPoolSpec { subnet: subnet.into(), ..IpamPoolSpec::default() }];
    NetworkSpec { name: lab.name(name), pools, ..NetworkSpec::default() }
}

async fn aliases_and_names_are_resolved(lab: &Lab) {
    let network = lab.network("net").await;
    let db = lab.up(&lab.networked("db", "sleep 300", &network, &["database", "db.internal"])).await;
    let web = lab.up(&lab.networked("web", "sleep 300", &network, &["web"])).await;
    let address = lab.observed(&db).await.networks[0].ipv4.clone();
    assert!(!address.is_empty());
    for name in ["database", "db.internal", db.name.as_str()] {
        let ran = lab.sh(&web, &format!("ping -c 1 -W 5 {name} || nslookup {name}")).await;
        assert!(ran.code == 0 && ran.stdout.contains(&address), "{name} is not {address}: {ran:?}");
    }
}

async fn an_unknown_name_is_not_resolved(lab: &Lab) {
    let network = lab.network("net").await;
    let web = lab.up(&lab.networked("web", "sleep 300", &network, &[])).await;
    assert_ne!(lab.sh(&web, "ping -c 1 -W 1 no-such-host.invalid").await.code, 0);
}

async fn name_servers_of_ones_own_do_not_hide_names(lab: &Lab) {
    let network = lab.network("net").await;
    let db = lab.up(&lab.networked("db", "sleep 300", &network, &["database"])).await;
    // Nobody answers there (RFC 5737).
    let spec = consort::world::ContainerSpec { dns: vec!["192.0.2.1".into()], ..lab.networked("web", "sleep 300", &network, &["web"]) };
    let web = lab.up(&spec).await;
    let address = lab.observed(&db).await.networks[0].ipv4.clone();
    let ran = lab.sh(&web, "ping -c 1 -W 5 database || nslookup database").await;
    assert!(ran.code == 0 && ran.stdout.contains(&address), "{ran:?}");
}

async fn addresses_can_be_fixed(lab: &Lab) {
    let (range, address) = subnet(lab, 1);
    let network = lab.network_as(with_pool(lab, "net", &range)).await;
    let mut spec = lab.networked("web", "sleep 300", &network, &[]);
    spec.networks[0].ipv4.clone_from(&address);
    let target = lab.up(&spec).await;
    assert_eq!(lab.observed(&target).await.networks[0].ipv4, address);
}

async fn several_networks_at_creation(lab: &Lab) -> Verdict {
    let (one, two) = (lab.network("one").await, lab.network("two").await);
    let mut spec = lab.networked("web", "sleep 300", &one, &["a"]);
    spec.networks.push(support::endpoint(&two, &["b"]));
    if !lab.engine.capabilities().many_networks_at_create {
        // Then one is given at creation, and the others before the start.
        let rest = spec.networks.split_off(1);
        let target = lab.create(&spec).await;
        for endpoint in rest {
            lab.good(&Op::ConnectNetwork { container: target.clone(), endpoint: Box::new(endpoint) }).await;
        }
        lab.start(&target).await;
        assert_eq!(names(lab, &target).await, [one, two]);
        return Verdict::NotCapable("several networks at creation (but connected later they work)");
    }
    let target = lab.up(&spec).await;
    assert_eq!(names(lab, &target).await, [one, two]);
    Verdict::Good
}

async fn names(lab: &Lab, target: &consort::world::Target) -> Vec<String> {
    let mut names: Vec<String> = lab.observed(target).await.networks.into_iter().map(|n| n.network).collect();
    names.sort();
    names
}

async fn a_running_container_can_be_connected_and_disconnected(lab: &Lab) {
    let (one, two) = (lab.network("one").await, lab.network("two").await);
    let target = lab.up(&lab.networked("web", "sleep 300", &one, &[])).await;
    let peer = lab.up(&lab.networked("peer", "sleep 300", &two, &["peer"])).await;
    let endpoint = Box::new(support::endpoint(&two, &["late"]));
    lab.good(&Op::ConnectNetwork { container: target.clone(), endpoint }).await;
    assert_eq!(names(lab, &target).await, [one.clone(), two.clone()]);
    assert_eq!(lab.sh(&peer, "ping -c 1 -W 5 late || nslookup late").await.code, 0);
    lab.good(&Op::DisconnectNetwork { container: target.clone(), network: two }).await;
    assert_eq!(names(lab, &target).await, [one]);
}

async fn a_second_connection_changes_nothing(lab: &Lab) {
    let network = lab.network("net").await;
    let target = lab.up(&lab.networked("web", "sleep 300", &network, &[])).await;
    let endpoint = Box::new(EndpointSpec { network, ..EndpointSpec::default() });
    assert!(!lab.good(&Op::ConnectNetwork { container: target, endpoint }).await.changed);
}

async fn an_internal_network_has_no_way_out(lab: &Lab) -> Verdict {
    if !lab.real {
        return Verdict::NotCapable("routes");
    }
    let network = lab.network_as(NetworkSpec { name: lab.name("net"), internal: true, ..NetworkSpec::default() }).await;
    let target = lab.up(&lab.networked("web", "sleep 300", &network, &[])).await;
    let routes = lab.sh(&target, "ip route").await.stdout;
    assert!(!routes.is_empty(), "no route at all");
    // Older engines filter what leaves, which can't be seen from inside without a network outside.
    if routes.contains("default") { Verdict::NotCapable("networks without a way out (it filters instead)") } else { Verdict::Good }
}

async fn networks_are_seen_with_labels_and_by_name(lab: &Lab) {
    let mut spec = NetworkSpec { name: lab.name("net"), ..NetworkSpec::default() };
    spec.labels = lab.labels();
    spec.labels.insert("color".into(), "red".into());
    let id = lab.good(&Op::CreateNetwork(spec.clone())).await.id.expect("an id");
    let seen = lab.observe().await.networks;
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].id.as_str(), seen[0].name.as_str(), seen[0].driver.as_str()), (id.as_str(), spec.name.as_str(), "bridge"));
    assert_eq!(seen[0].labels.get("color").map(String::as_str), Some("red"));
    let by_name = ObserveQuery { project: Some(lab.name("nobody")), networks: vec![spec.name.clone(), lab.name("none")], ..ObserveQuery::default() };
    let found = lab.engine.observe(&by_name).await.unwrap().networks;
    assert_eq!(found.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(), [spec.name.as_str()]);
    assert!(lab.good(&Op::RemoveNetwork { name: spec.name.clone(), id: Some(id) }).await.changed);
}

async fn a_network_in_use_is_not_removed(lab: &Lab) {
    let network = lab.network("net").await;
    lab.up(&lab.networked("web", "sleep 300", &network, &[])).await;
    let error = lab.bad(&Op::RemoveNetwork { name: network.clone(), id: None }).await;
    assert_eq!(error.kind, ErrorKind::Conflict, "{error:?}");
}

async fn a_taken_network_name_is_a_conflict(lab: &Lab) {
    let network = lab.network("net").await;
    let mut again = NetworkSpec { name: network, labels: lab.labels(), ..NetworkSpec::default() };
    // Somebody made the very same at the same time.
    let same = lab.good(&Op::CreateNetwork(again.clone())).await;
    assert!(!same.changed && same.id.is_some());
    again.labels.insert("color".into(), "red".into());
    let error = lab.bad(&Op::CreateNetwork(again)).await;
    assert_eq!(error.kind, ErrorKind::Conflict, "{error:?}");
}

async fn an_unknown_network_is_not_found(lab: &Lab) {
    let spec = lab.networked("web", "sleep 300", &lab.name("nowhere"), &[]);
    // Some engines look at creation, others at the start.
    let error = match lab.apply(&Op::CreateContainer(Box::new(spec.clone()))).await {
        Err(error) => error,
        Ok(_) => lab.bad(&Op::StartContainer { container: consort::world::Target::named(&spec.name) }).await,
    };
    assert_eq!(error.kind, ErrorKind::NotFound, "{error:?}");
    assert!(error.to_string().contains(&lab.name("nowhere")), "{error}");
}

async fn no_network_at_all(lab: &Lab) -> Verdict {
    let mut spec = lab.spec("web", "sleep 300");
    spec.network_mode = NetworkMode::None;
    let target = lab.up(&spec).await;
    if !lab.real {
        assert!(lab.observed(&target).await.networks.is_empty());
        return Verdict::NotCapable("interfaces");
    }
    let interfaces = lab.sh(&target, "ls /sys/class/net").await.stdout;
    assert!(!interfaces.contains("eth"), "{interfaces}");
    Verdict::Good
}

async fn the_network_of_another_container(lab: &Lab) {
    let network = lab.network("net").await;
    let peer = lab.up(&lab.networked("peer", "sleep 300", &network, &["peer"])).await;
    let owner = lab.up(&lab.networked("owner", "sleep 300", &network, &["owner"])).await;
    let mut spec = lab.spec("guest", "sleep 300");
    spec.network_mode = NetworkMode::Container(owner.id.clone().unwrap());
    let guest = lab.up(&spec).await;
    assert_eq!(lab.sh(&guest, "ping -c 1 -W 5 peer || nslookup peer").await.code, 0);
    drop(peer);
}

async fn driver_options_and_pools(lab: &Lab) {
    let (range, _) = subnet(lab, 2);
    let mut spec = with_pool(lab, "net", &range);
    spec.driver = "bridge".into();
    spec.driver_options = BTreeMap::from([("com.docker.network.driver.mtu".to_owned(), "1400".to_owned())]);
    let network = lab.network_as(spec).await;
    let target = lab.up(&lab.networked("web", "sleep 300", &network, &[])).await;
    let address = lab.observed(&target).await.networks[0].ipv4.clone();
    assert!(address.starts_with(range.trim_end_matches("0/24")), "{address} is not in {range}");
    if lab.real {
        assert_eq!(lab.sh(&target, "cat /sys/class/net/eth0/mtu").await.stdout, "1400\n");
    }
}

/// A port of this host that nobody uses.
async fn free_port(lab: &Lab) -> u16 {
    if lab.real {
        return TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    }
    20_000 + u16::try_from(lab.project.bytes().map(u32::from).fold(7_u32, |a, b| a.wrapping_mul(31).wrapping_add(b)) % 10_000).unwrap()
}

/// Reads what a server says, which may need a moment to listen.
async fn greeting(port: u16) -> String {
    let talk = async {
        loop {
            let mut text = String::new();
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await
                && stream.read_to_string(&mut text).await.is_ok()
                && !text.is_empty()
            {
                return text;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), talk).await.expect("the published port can't be reached")
}

async fn published_ports_are_seen_and_reached(lab: &Lab) -> Verdict {
    let network = lab.network("net").await;
    let number = free_port(lab).await;
    let mut spec = lab.networked("web", SERVE, &network, &[]);
    spec.ports = vec![support::port(80, "", &number.to_string())];
    spec.expose = vec!["9000/tcp".into()];
    let target = lab.up(&spec).await;
    let seen = lab.observed(&target).await.ports;
    let published = seen.iter().find(|p| p.host_port == number).unwrap_or_else(|| panic!("{number} is not among {seen:?}"));
    assert_eq!((published.target, published.protocol.as_str()), (80, "tcp"));
    if !lab.real {
        return Verdict::NotCapable("sockets");
    }
    assert_eq!(greeting(number).await, "hello\n");
    Verdict::Good
}

async fn a_taken_port_says_so(lab: &Lab) {
    let network = lab.network("net").await;
    let number = free_port(lab).await;
    let with_port = |service: &str| {
        let mut spec = lab.networked(service, "sleep 300", &network, &[]);
        spec.ports = vec![support::port(80, "", &number.to_string())];
        spec
    };
    lab.up(&with_port("first")).await;
    let second = lab.create(&with_port("second")).await;
    let error = lab.bad(&Op::StartContainer { container: second.clone() }).await;
    assert_eq!(error.kind, ErrorKind::PortTaken, "{error:?}");
    assert!(error.to_string().contains(&number.to_string()), "{error}");
}

async fn the_engine_chooses_a_port(lab: &Lab) {
    let network = lab.network("net").await;
    let mut spec = lab.networked("web", "sleep 300", &network, &[]);
    spec.ports = vec![support::port(80, "", "")];
    let target = lab.up(&spec).await;
    let ports = lab.observed(&target).await.ports;
    assert!(ports.iter().any(|p| p.target == 80 && p.host_port > 1023), "{ports:?}");
}

async fn a_port_on_one_address(lab: &Lab) {
    let network = lab.network("net").await;
    let number = free_port(lab).await;
    let mut spec = lab.networked("web", "sleep 300", &network, &[]);
    spec.ports = vec![support::port(80, "127.0.0.1", &number.to_string())];
    let target = lab.up(&spec).await;
    let ports = lab.observed(&target).await.ports;
    assert!(ports.iter().any(|p| p.host_ip == "127.0.0.1" && p.host_port == number), "{ports:?}");
    assert!(ports.iter().all(|p| p.host_port == 0 || p.host_ip == "127.0.0.1"), "{ports:?}");
}

async fn ports_of_udp(lab: &Lab) {
    let network = lab.network("net").await;
    let mut spec = lab.networked("web", "sleep 300", &network, &[]);
    let mut udp = support::port(53, "", "");
    udp.protocol = "udp".into();
    spec.ports = vec![udp];
    let target = lab.up(&spec).await;
    let ports = lab.observed(&target).await.ports;
    assert!(ports.iter().any(|p| p.target == 53 && p.protocol == "udp" && p.host_port > 0), "{ports:?}");
}

async fn a_free_port_of_a_range_is_taken(lab: &Lab) {
    let network = lab.network("net").await;
    let first = free_port(lab).await.min(60_000);
    let range = format!("{first}-{}", first + 20);
    let mut spec = lab.networked("web", "sleep 300", &network, &[]);
    spec.ports = vec![support::port(80, "127.0.0.1", &range)];
    let mut taken = std::collections::BTreeSet::new();
    for service in ["one", "two", "three"] {
        spec.name = lab.name(service);
        let target = lab.up(&spec).await;
        let ports = lab.observed(&target).await.ports;
        let own = ports.iter().map(|p| p.host_port).find(|p| (first..=first + 20).contains(p));
        assert!(taken.insert(own.unwrap_or_else(|| panic!("{ports:?}"))), "each has its own");
    }
}

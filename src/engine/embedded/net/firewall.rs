//! Getting along with other rules on the host: forwarding is on, and tables of others that drop what is forwarded.

use super::nft::{self, Batch, FROM_LINK, Hook, Step, TO_LINK};
use crate::engine::embedded::sys::netlink::{self, Netlink, Refusal};

/// What stands in the way of packets that are forwarded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// Chains that drop what no rule of theirs accepts, where rules of ours are welcome: iptables' `FORWARD`, whose
    /// policy Docker sets. Family.
    pub helped: Vec<u8>,
    /// Others, in words.
    pub hostile: Vec<String>,
}

/// Looks who else filters what is forwarded.
pub fn look(netlink: &Netlink, own: &str) -> Outlook {
    let chains = netlink.ask(nft::GETCHAIN, true, |a| {
        a.raw(&[0, 0, 0, 0]);
    });
    let mut outlook = Outlook::default();
    for (_, payload) in chains.unwrap_or_default() {
        let (Some(family), Some(attributes)) = (payload.first().copied(), payload.get(4..)) else { continue };
        let text = |kind| netlink::attribute(attributes, kind).map(netlink::text).unwrap_or_default();
        let big = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_be_bytes);
        let hook = netlink::attribute(attributes, 4).and_then(|hook| netlink::attribute(hook, 1)).and_then(big);
        let (table, chain) = (text(1), text(3));
        if hook != Some(Hook::Forward as u32) || table == own || table.starts_with("consort") {
            continue;
        }
        let drops = netlink::attribute(attributes, 5).and_then(big) == Some(0);
        if table == "filter" && chain == "FORWARD" && drops && matches!(family, nft::IPV4 | nft::IPV6) {
            outlook.helped.push(family);
        } else if drops || table == "firewalld" {
            outlook.hostile.push(format!("chain {chain} of table {table}"));
        }
    }
    let legacy =
        |file: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).is_ok_and(|names| names.lines().any(|name| name == "filter"));
    if legacy("ip_tables_names") || legacy("ip6_tables_names") {
        outlook.hostile.push("the rules of iptables-legacy".to_owned());
    }
    outlook
}

/// Lets a bridge's packets pass the chains that would drop them: at their end, after whatever their owner has to say.
///
/// # Errors
/// A rule that isn't taken.
pub fn open(netlink: &Netlink, outlook: &Outlook, bridge: &str) -> Result<(), Refusal> {
    let name = padded(bridge);
    for family in &outlook.helped {
        if !handles(netlink, *family, &name).is_empty() {
            continue;
        }
        let mut batch = Batch::new(*family, "filter");
        for direction in [FROM_LINK, TO_LINK] {
            batch.rule("FORWARD", &[Step::Meta(direction, 1), Step::Equal(&name), Step::Accept]);
        }
        batch.commit(netlink)?;
    }
    Ok(())
}

/// Takes a bridge's rules out again, wherever they are.
pub fn close(netlink: &Netlink, bridge: &str) {
    let name = padded(bridge);
    for family in [nft::IPV4, nft::IPV6] {
        let handles = handles(netlink, family, &name);
        if handles.is_empty() {
            continue;
        }
        let mut batch = Batch::new(family, "filter");
        for handle in handles {
            batch.remove_rule("FORWARD", handle);
        }
        // Whoever owns the chain may have emptied it meanwhile.
        let _ = batch.commit(netlink);
    }
}

/// Bridges of ours for which rules are there.
pub fn bridges(netlink: &Netlink) -> Vec<String> {
    let mut found = Vec::new();
    for family in [nft::IPV4, nft::IPV6] {
        for (_, expressions) in rules(netlink, family) {
            if let Some(at) = expressions.windows(3).position(|w| w == b"cs-") {
                found.push(netlink::text(expressions.get(at..at + 16).unwrap_or_default()));
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

fn padded(bridge: &str) -> Vec<u8> {
    let mut name = bridge.as_bytes().to_vec();
    name.resize(16, 0);
    name
}

/// Rules of `FORWARD` in table `filter`: handle and expressions.
fn rules(netlink: &Netlink, family: u8) -> Vec<(u64, Vec<u8>)> {
    let found = netlink.ask(nft::GETRULE, true, |a| {
        a.raw(&[family, 0, 0, 0]).text(1, "filter").text(2, "FORWARD");
    });
    let rule = |payload: &[u8]| {
        let attributes = payload.get(4..)?;
        let handle = netlink::attribute(attributes, 3)?.try_into().ok().map(u64::from_be_bytes)?;
        Some((handle, netlink::attribute(attributes, 4)?.to_vec()))
    };
    found.unwrap_or_default().iter().filter_map(|(_, payload)| rule(payload)).collect()
}

/// Handles of the rules that compare with this name and nothing else of the packet.
fn handles(netlink: &Netlink, family: u8, name: &[u8]) -> Vec<u64> {
    let ours = |expressions: &[u8]| expressions.windows(name.len()).any(|w| w == name) && netlink::attributes(expressions).count() == 3;
    rules(netlink, family).into_iter().filter(|(_, e)| ours(e)).map(|(handle, _)| handle).collect()
}

/// Lets the host forward packets, as networks of containers need it. With IPv6, interfaces that took their routes from
/// router advertisements go on doing so, which they otherwise wouldn't.
///
/// # Errors
/// What the host doesn't let us set.
pub fn forwarding(ipv4: bool, ipv6: bool) -> std::io::Result<()> {
    let is_on = |file: &str| std::fs::read_to_string(file).is_ok_and(|v| v.trim() != "0");
    if ipv4 && !is_on("/proc/sys/net/ipv4/ip_forward") {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    }
    if ipv6 && !is_on("/proc/sys/net/ipv6/conf/all/forwarding") {
        for entry in std::fs::read_dir("/proc/sys/net/ipv6/conf")?.flatten() {
            let file = entry.path().join("accept_ra");
            // Links to come shall not trust what containers say.
            let template = matches!(entry.file_name().to_str(), Some("all" | "default"));
            if !template && std::fs::read_to_string(&file).is_ok_and(|v| v.trim() == "1") {
                std::fs::write(&file, "2")?;
            }
        }
        std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1")?;
    }
    Ok(())
}

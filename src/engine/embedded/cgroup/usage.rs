//! What a group uses, read from its files. What isn't there counts as nothing.

use super::{Layout, Usage};
use std::path::Path;

fn text(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

fn number(file: &Path) -> u64 {
    text(file).trim().parse().unwrap_or(0)
}

/// The number behind a key, in a file of `key number` lines.
fn field(text: &str, key: &str) -> u64 {
    text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok()).unwrap_or(0)
}

pub(super) fn v1(layout: &Layout, path: &str) -> Usage {
    let of = |controller: &str| layout.of_controller(controller).map(|root| root.join(path)).unwrap_or_default();
    let (memory, blkio) = (of("memory"), of("blkio"));
    let inactive = field(&text(&memory.join("memory.stat")), "total_inactive_file");
    let limit = number(&memory.join("memory.limit_in_bytes"));
    let bytes = text(&blkio.join("blkio.throttle.io_service_bytes_recursive"));
    let io = |word: &str| {
        bytes.lines().filter_map(|l| l.split_once(' ')?.1.strip_prefix(word)?.trim().parse::<u64>().ok()).fold(0_u64, u64::saturating_add)
    };
    Usage {
        memory: number(&memory.join("memory.usage_in_bytes")).saturating_sub(inactive),
        // Without a limit it is the highest multiple of a page below 2^63.
        memory_limit: (limit != 0 && limit < 1 << 62).then_some(limit),
        cpu: number(&of("cpuacct").join("cpuacct.usage")),
        pids: number(&of("pids").join("pids.current")),
        io: (io("Read "), io("Write ")),
        oom_kills: killed_v1(&memory),
    }
}

/// [`Usage::oom_kills`] alone; `folder` is that of the memory controller.
pub(super) fn killed_v1(folder: &Path) -> u64 {
    field(&text(&folder.join("memory.oom_control")), "oom_kill")
}

/// As above.
pub(super) fn killed_v2(folder: &Path) -> u64 {
    field(&text(&folder.join("memory.events")), "oom_kill")
}

pub(super) fn v2(folder: &Path) -> Usage {
    let inactive = field(&text(&folder.join("memory.stat")), "inactive_file");
    let stat = text(&folder.join("io.stat"));
    let io = |key: &str| {
        stat.split_whitespace().filter_map(|w| w.strip_prefix(key)?.strip_prefix('=')?.parse::<u64>().ok()).fold(0_u64, u64::saturating_add)
    };
    Usage {
        memory: number(&folder.join("memory.current")).saturating_sub(inactive),
        memory_limit: text(&folder.join("memory.max")).trim().parse().ok(),
        cpu: field(&text(&folder.join("cpu.stat")), "usage_usec").saturating_mul(1000),
        pids: number(&folder.join("pids.current")),
        io: (io("rbytes"), io("wbytes")),
        oom_kills: killed_v2(folder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_v2() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, content) in [
            ("memory.current", "1000\n"),
            ("memory.stat", "anon 5\ninactive_file_x 7\ninactive_file 100\n"),
            ("memory.max", "max\n"),
            ("cpu.stat", "usage_usec 12\nuser_usec 3\n"),
            ("pids.current", "4\n"),
            ("io.stat", "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2\n"),
            ("memory.events", "low 0\noom 2\noom_kill 1\n"),
        ] {
            std::fs::write(folder.path().join(name), content).expect("written");
        }
        let usage = v2(folder.path());
        assert_eq!(usage, Usage { memory: 900, memory_limit: None, cpu: 12_000, pids: 4, io: (11, 22), oom_kills: 1 });
        assert_eq!(v2(Path::new("/nowhere")), Usage::default());
    }
}

//! Memory that is given back.
#![expect(unsafe_code, reason = "madvise and malloc_trim have no safe wrapper")]

use std::ops::Range;

/// Gives back what this process has no use for now: free room of the heap, and its view of files that it maps, above all
/// of its own program. What it needs of those comes back as it is touched, without a read as long as the kernel has them.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: only pages that nobody has allocated are given back.
    unsafe {
        libc::malloc_trim(0);
    }
    let Ok(maps) = std::fs::read_to_string("/proc/self/smaps") else { return };
    for range in clean(&maps) {
        // SAFETY: a private mapping of a file that nobody may write to and that has no page but the file's own: what is read
        // there after that is the same. A program that is executed can't be written to either (ETXTBSY), nor can a library
        // that is replaced as package managers do it, by a new file.
        unsafe { libc::madvise(std::ptr::without_provenance_mut(range.start), range.len(), libc::MADV_DONTNEED) };
    }
}

/// Mappings of a process (the text of `/proc/PID/smaps`) that are private, can't be written to, and have no page that isn't
/// the file's own: no relocation was ever written there.
fn clean(maps: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in maps.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields.as_slice() {
            [range, permissions, _, _, inode, _path @ ..] if permissions.len() == 4 => {
                let private = permissions.ends_with('p') && !permissions.contains('w') && *inode != "0";
                let ends = range.split_once('-').filter(|_| private);
                candidate = ends.and_then(|(a, b)| Some(usize::from_str_radix(a, 16).ok()?..usize::from_str_radix(b, 16).ok()?));
            }
            ["Anonymous:", "0", "kB"] => found.extend(candidate.take()),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_files_are_given_back() {
        let maps = "00400000-00500000 r-xp 00100000 00:2a 17                        /usr/bin/consort\n\
                    Rss:                 900 kB\nAnonymous:             0 kB\nVmFlags: rd ex mr mw me\n\
                    00500000-00600000 r--p 00200000 00:2a 17                        /usr/bin/consort (deleted)\n\
                    Anonymous:             0 kB\n\
                    00600000-00700000 r--p 00300000 00:2a 17                        /usr/bin/consort\n\
                    Anonymous:           420 kB\n\
                    00700000-00800000 rw-p 00400000 00:2a 17                        /usr/bin/consort\nAnonymous: 0 kB\n\
                    00800000-00900000 r--s 00000000 00:2a 18                        /x\nAnonymous: 0 kB\n\
                    00900000-00a00000 r--p 00000000 00:00 0 \nAnonymous: 0 kB\n\
                    7fff0000-7fff1000 r-xp 00000000 00:00 0                         [vdso]\nAnonymous: 0 kB\n";
        assert_eq!(clean(maps), [0x40_0000..0x50_0000, 0x50_0000..0x60_0000]);
    }

    #[test]
    fn what_was_given_back_comes_back() {
        let resident = || {
            let text = std::fs::read_to_string("/proc/self/status").unwrap();
            text.lines().find_map(|l| l.strip_prefix("RssFile:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap()
        };
        let before = resident();
        give_back();
        assert!(resident() < before, "{before} kB before");
        assert_eq!(format!("{:?}", clean("")), "[]", "code goes on");
    }
}

//! Archives that mean no good, and those that have everything.

use super::*;
use crate::world::{EngineError, ErrorKind};
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};

/// An archive, entry by entry. Names go in as they are, whatever they are.
#[derive(Default)]
struct Maker(Vec<u8>);

impl Maker {
    fn header(kind: EntryType, name: &str, size: usize) -> Header {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(size as u64);
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
        header
    }

    fn put(mut self, mut header: Header, content: &[u8]) -> Self {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &[u8]) -> Self {
        self.put(Self::header(EntryType::Regular, name, content.len()), content)
    }

    fn dir(self, name: &str) -> Self {
        self.put(Self::header(EntryType::Directory, name, 0), b"")
    }

    fn link(self, kind: EntryType, name: &str, target: &str) -> Self {
        let mut header = Self::header(kind, name, 0);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        self.put(header, b"")
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.link(EntryType::Symlink, name, target)
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (1..).find(|l: &usize| *l == rest + l.to_string().len()).unwrap();
            content.extend_from_slice(format!("{length} {key}=").as_bytes());
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.put(Self::header(EntryType::XHeader, "pax", content.len()), &content)
    }

    fn done(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// A layer's folder, and beside it what no archive may touch.
struct Ground {
    folder: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        fs::create_dir(folder.path().join("fs")).unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/victim"), b"untouched").unwrap();
        Self { folder }
    }

    fn layer(&self) -> PathBuf {
        self.folder.path().join("fs")
    }

    fn outside(&self) -> String {
        self.folder.path().join("outside").display().to_string()
    }

    fn unpack(&self, archive: &[u8], limits: &Limits) -> Result<(), EngineError> {
        let outcome = unpack(archive, &self.layer(), None, limits).map(drop);
        // Whatever it was, nothing outside has changed.
        let outside: Vec<_> = fs::read_dir(self.outside()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(outside, ["victim"]);
        let victim = fs::symlink_metadata(Path::new(&self.outside()).join("victim")).unwrap();
        assert!(victim.is_file() && victim.nlink() == 1, "{victim:?}");
        assert_eq!(fs::read(Path::new(&self.outside()).join("victim")).unwrap(), b"untouched");
        let beside: Vec<_> = fs::read_dir(self.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(beside.len(), 2, "{beside:?}");
        outcome
    }
}

fn refused(archive: Maker, why: &str) {
    let error = Ground::new().unpack(&archive.done(), &Limits::default()).unwrap_err().to_string();
    assert!(error.contains(why), "{error}");
}

/// Owners, devices and attributes are root's to give.
fn root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn paths_that_lead_out_are_refused_and_absolute_ones_begin_at_the_layer() {
    refused(Maker::default().file("../outside/new", b"x"), "leads out");
    refused(Maker::default().file("a/../../outside/victim", b"x"), "leads out");
    refused(Maker::default().dir(".."), "leads out");
    refused(Maker::default().file("..", b"x"), "leads out");
    refused(Maker::default().file(".", b"x"), "the root");
    if !root() {
        return;
    }
    let ground = Ground::new();
    ground.unpack(&Maker::default().file("/etc/one", b"1").file("a/../two", b"2").file("./three", b"3").done(), &Limits::default()).unwrap();
    for (path, content) in [("etc/one", "1"), ("two", "2"), ("three", "3")] {
        assert_eq!(fs::read_to_string(ground.layer().join(path)).unwrap(), content);
    }
}

#[test]
fn links_are_followed_within_the_layer_only() {
    if !root() {
        return;
    }
    for target in ["/", "../../../../..", "/../.."] {
        let ground = Ground::new();
        let archive = Maker::default().symlink("a", target).file("a/x/victim", b"new").dir("a/y").symlink("a/z", "nowhere");
        ground.unpack(&archive.done(), &Limits::default()).unwrap();
        assert_eq!(fs::read_to_string(ground.layer().join("x/victim")).unwrap(), "new", "{target}");
        assert!(ground.layer().join("y").is_dir());
    }
    // To where the outside is: it is a path within, and isn't there.
    let ground = Ground::new();
    let error = ground.unpack(&Maker::default().symlink("a", &ground.outside()).file("a/victim", b"new").done(), &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("leads nowhere"), "{error}");
    // Links of /proc lead anywhere at once, if one lets them.
    let ground = Ground::new();
    let error = ground.unpack(&Maker::default().dir("proc/self").symlink("a", "/proc/self/root").file("a/x", b"").done(), &Limits::default());
    assert!(error.is_err());
    // Round and round.
    let ground = Ground::new();
    assert!(ground.unpack(&Maker::default().symlink("a", "b").symlink("b", "a").file("a/x", b"").done(), &Limits::default()).is_err());
}

#[test]
fn what_takes_a_links_place_does_not_go_through_it() {
    if !root() {
        return;
    }
    let ground = Ground::new();
    let victim = format!("{}/victim", ground.outside());
    let archive = Maker::default()
        .symlink("file", &victim)
        .file("file", b"mine")
        .symlink("dir", &ground.outside())
        .dir("dir")
        .file("dir/victim", b"mine")
        .symlink("node", &victim)
        .put(Maker::header(EntryType::Char, "node", 0), b"")
        .dir("full/below")
        .symlink("full/below/link", &ground.outside())
        .file("full", b"mine");
    ground.unpack(&archive.done(), &Limits::default()).unwrap();
    for path in ["file", "dir/victim", "full"] {
        assert_eq!(fs::read_to_string(ground.layer().join(path)).unwrap(), "mine", "{path}");
    }
    assert!(fs::symlink_metadata(ground.layer().join("node")).unwrap().file_type().is_char_device());
    // A link that was there before is not touched by the attributes of what replaces it either.
    symlink(&victim, ground.layer().join("before")).unwrap();
    let mut header = Maker::header(EntryType::Symlink, "before", 0);
    header.set_uid(4711);
    header.as_old_mut().linkname[..victim.len()].copy_from_slice(victim.as_bytes());
    ground.unpack(&Maker::default().put(header, b"").done(), &Limits::default()).unwrap();
    assert_eq!(fs::symlink_metadata(ground.layer().join("before")).unwrap().uid(), 4711);
    assert_ne!(fs::metadata(&victim).unwrap().uid(), 4711);
}

#[test]
fn hard_links_lead_to_what_the_layer_has() {
    let ground = Ground::new();
    let victim = format!("{}/victim", ground.outside());
    refused(Maker::default().link(EntryType::Link, "a", &victim), "isn't there");
    refused(Maker::default().link(EntryType::Link, "a", "../outside/victim"), "leads out");
    refused(Maker::default().link(EntryType::Link, "a", "/etc/passwd"), "isn't there");
    if !root() {
        return;
    }
    refused(Maker::default().symlink("d", "/").link(EntryType::Link, "a", "d/etc/passwd"), "isn't there");
    refused(Maker::default().dir("d").link(EntryType::Link, "a", "d"), "folder");
    // A link to a link is one more name of the link.
    let archive = Maker::default().symlink("s", &victim).link(EntryType::Link, "a", "s").file("f", b"x").link(EntryType::Link, "f", "f");
    ground.unpack(&archive.done(), &Limits::default()).unwrap();
    assert!(fs::symlink_metadata(ground.layer().join("a")).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(ground.layer().join("f")).unwrap(), "x");
}

#[test]
fn whiteouts_hide_what_is_below_and_nothing_else() {
    refused(Maker::default().file(".wh.", b""), "that has a name");
    refused(Maker::default().file(".wh..", b""), "that has a name");
    refused(Maker::default().file("a/.wh...", b""), "that has a name");
    refused(Maker::default().file("../outside/.wh.victim", b""), "leads out");
    if !root() {
        return;
    }
    let ground = Ground::new();
    let through = Maker::default().symlink("a", &ground.outside()).file("a/.wh.victim", b"");
    assert!(ground.unpack(&through.done(), &Limits::default()).is_err());
    let opaque = Maker::default().symlink("b", &ground.outside()).file("b/.wh..wh..opq", b"");
    assert!(ground.unpack(&opaque.done(), &Limits::default()).is_err());
    let ground = Ground::new();
    let archive = Maker::default()
        .symlink("a", "/")
        .file("a/.wh.victim", b"")
        .file(".wh.gone", b"content of no account")
        .file("kept", b"x")
        .file(".wh.kept", b"")
        .file(".wh.again", b"")
        .dir("again")
        .dir("first")
        .file(".wh.first", b"")
        .dir("opaque")
        .file("opaque/.wh..wh..opq", b"")
        .file(".wh..wh.plnk", b"")
        .file("after", b"y");
    ground.unpack(&archive.done(), &Limits::default()).unwrap();
    let is_whiteout = |name: &str| {
        let about = fs::symlink_metadata(ground.layer().join(name)).unwrap();
        about.file_type().is_char_device() && about.rdev() == 0
    };
    assert!(is_whiteout("victim") && is_whiteout("gone"));
    assert_eq!(fs::read_to_string(ground.layer().join("kept")).unwrap(), "x");
    for name in ["again", "first", "opaque"] {
        let mut value = [0; 4];
        let n = rustix::fs::getxattr(ground.layer().join(name), "trusted.overlay.opaque", value.as_mut_slice()).unwrap();
        assert_eq!(&value[..n], b"y", "{name}");
    }
    assert_eq!(fs::read_to_string(ground.layer().join("after")).unwrap(), "y");
}

#[test]
fn bombs_are_defused() {
    let limits = Limits { size: 10_000, entries: 10, ratio: 200 };
    let exceeded = |archive: Maker, variable: &str| {
        let error = Ground::new().unpack(&archive.done(), &limits).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(error.to_string().contains(variable), "{error}");
    };
    exceeded((0..11).fold(Maker::default(), |m, i| m.dir(&format!("{i}"))), "CONSORT_LAYER_MAX_ENTRIES");
    if root() {
        exceeded(Maker::default().file("a", &[1; 6000]).file("b", &[1; 6000]), "CONSORT_LAYER_MAX_SIZE");
    }
    // A hole of a petabyte.
    exceeded(
        Maker::default().pax(&[("GNU.sparse.map", b"0,0"), ("GNU.sparse.size", b"1125899906842624")]).file("hole", b""),
        "CONSORT_LAYER_MAX_SIZE",
    );
    // A name of a gigabyte, and one of more than there is.
    for size in ["10000000000", "77777777777"] {
        let mut header = Maker::header(EntryType::GNULongName, "././@LongLink", 0);
        header.as_old_mut().size[..11].copy_from_slice(size.as_bytes());
        let error = Ground::new().unpack(&Maker::default().put(header, b"").done(), &limits).unwrap_err().to_string();
        assert!(error.contains("are allowed"), "{error}");
    }
    let deep = "d/".repeat(300);
    let error = Ground::new().unpack(&Maker::default().pax(&[("path", deep.as_bytes())]).dir("x").done(), &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("too deep"), "{error}");
    // A file that pretends to be larger than any archive.
    let mut header = Maker::header(EntryType::Regular, "large", 0);
    header.set_size(u64::MAX);
    assert!(Ground::new().unpack(&Maker::default().put(header, b"").done(), &Limits::default()).is_err());
}

#[test]
fn what_is_broken_is_told_in_words() {
    let whole = Maker::default().file("a", &[1; 2000]).done();
    if root() {
        let error = Ground::new().unpack(&whole[..1500], &Limits::default()).unwrap_err().to_string();
        assert!(error.contains("breaks off"), "{error}");
    }
    let mut damaged = whole.clone();
    damaged[3] = b'x';
    for bytes in [damaged.as_slice(), &[7; 2000]] {
        let error = Ground::new().unpack(bytes, &Limits::default()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Protocol);
        assert!(error.to_string().contains("checksum"), "{error}");
    }
    let mut odd = Maker::header(EntryType::Regular, "odd", 0);
    odd.set_entry_type(EntryType::new(b'M'));
    refused(Maker::default().put(odd, b""), "'M'");
    let mut nobody = Maker::header(EntryType::Directory, "nobody", 0);
    nobody.set_uid(u64::from(u32::MAX));
    refused(Maker::default().put(nobody, b""), "owner");
    // Nothing at all is a layer without files: images have such.
    Ground::new().unpack(b"", &Limits::default()).unwrap();
}

#[test]
fn everything_that_a_file_has_is_kept_and_the_archive_can_be_made_again() {
    if !root() {
        return;
    }
    let long = format!("{}/{}", "d".repeat(120), "n".repeat(200));
    let with = |mut header: Header, mode: u32, uid: u64, gid: u64| {
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(gid);
        header
    };
    // Content, two holes, content: 4 pieces of GNU tar's own format, and the list of the newer one.
    let mut sparse = Maker::header(EntryType::GNUSparse, "sparse", 1024);
    {
        let gnu = sparse.as_gnu_mut().unwrap();
        gnu.set_real_size(1 << 20);
        for (piece, (offset, length)) in gnu.sparse.iter_mut().zip([(0, 512), (1 << 19, 512), (1 << 20, 0)]) {
            piece.offset.copy_from_slice(format!("{offset:011o}\0").as_bytes());
            piece.numbytes.copy_from_slice(format!("{length:011o}\0").as_bytes());
        }
    }
    let mut map = b"2\n0\n512\n524288\n512\n".to_vec();
    map.resize(512, 0);
    let newer = [map, vec![1; 512], vec![2; 512]].concat();
    let archive = Maker::default()
        .put(with(Maker::header(EntryType::Directory, "./", 0), 0o711, 0, 0), b"")
        .put(with(Maker::header(EntryType::Directory, "sticky", 0), 0o1777, 1, 2), b"")
        .put(with(Maker::header(EntryType::Regular, "sticky/setuid", 3), 0o4711, 1000, 1001), b"abc")
        .link(EntryType::Link, "other-name", "sticky/setuid")
        .pax(&[
            ("path", long.as_bytes()),
            ("mtime", b"1234.567890123"),
            ("SCHILY.xattr.user.a", b"b\nc\0d"),
            ("uid", b"3000000"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/x"),
        ])
        .file("short", b"long")
        .pax(&[("SCHILY.xattr.security.capability", &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])])
        .file("capable", b"x")
        .put(Maker::header(EntryType::Char, "null", 0), b"")
        .put(Maker::header(EntryType::Fifo, "fifo", 0), b"")
        .put(sparse, &[[1; 512], [2; 512]].concat())
        .pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.name", b"sparse2"), ("GNU.sparse.realsize", b"1048576")])
        .put(Maker::header(EntryType::Regular, "GNUSparseFile.0/sparse2", newer.len()), &newer)
        .done();
    let ground = Ground::new();
    let recipe = ground.layer().with_extension("gz");
    let unpacked = unpack(archive.as_slice(), &ground.layer(), Some(File::create(&recipe).unwrap()), &Limits::default()).unwrap();
    assert!(unpacked.repeatable && !unpacked.opaque);
    let about = |path: &str| fs::symlink_metadata(ground.layer().join(path)).unwrap();
    let (mode, owner) = (|path: &str| about(path).mode() & 0o7777, |path: &str| (about(path).uid(), about(path).gid()));
    assert_eq!((mode(""), mode("sticky"), mode("sticky/setuid")), (0o711, 0o1777, 0o4711));
    assert_eq!((owner("sticky"), owner("sticky/setuid"), owner(&long)), ((1, 2), (1000, 1001), (3_000_000, 0)));
    assert_eq!((about("other-name").ino(), about("other-name").nlink()), (about("sticky/setuid").ino(), 2));
    assert_eq!((about("").mtime(), about("sticky").mtime(), about("fifo").mtime()), (1_000_000_000, 1_000_000_000, 1_000_000_000));
    assert_eq!((about(&long).mtime(), about(&long).mtime_nsec()), (1234, 567_890_123));
    let attribute = |path: &str, name: &str| {
        let mut value = [0; 64];
        rustix::fs::getxattr(ground.layer().join(path), name, value.as_mut_slice()).map(|n| value[..n].to_vec())
    };
    assert_eq!(attribute(&long, "user.a").unwrap(), b"b\nc\0d");
    assert!(attribute(&long, "trusted.overlay.redirect").is_err());
    assert_eq!(attribute("capable", "security.capability").unwrap().len(), 20);
    assert!(about("null").file_type().is_char_device() && about("fifo").file_type().is_fifo());
    assert_eq!(about("null").rdev(), rustix::fs::makedev(1, 3));
    let mut expected = vec![0; 1 << 20];
    expected[..512].fill(1);
    expected[1 << 19..(1 << 19) + 512].fill(2);
    for name in ["sparse", "sparse2"] {
        let mut content = Vec::new();
        File::open(ground.layer().join(name)).unwrap().read_to_end(&mut content).unwrap();
        assert!(content == expected, "{name}");
        assert!(about(name).blocks() < 64, "{name} has {} blocks", about(name).blocks());
    }
    let mut again = Vec::new();
    recipe::replay(&recipe, &ground.layer(), &mut again).unwrap();
    assert!(again == archive);
    // And what is packed from the folder becomes the same folder.
    let mut packed = Vec::new();
    pack(&ground.layer(), true, &mut packed).unwrap();
    let other = Ground::new();
    unpack(packed.as_slice(), &other.layer(), None, &Limits::default()).unwrap();
    for path in ["", "sticky", "sticky/setuid", "other-name", &long, "null", "fifo", "capable"] {
        let (one, two) = (about(path), fs::symlink_metadata(other.layer().join(path)).unwrap());
        let facts = |m: &fs::Metadata| (m.mode(), m.uid(), m.gid(), m.mtime(), m.mtime_nsec(), m.nlink(), m.rdev());
        assert_eq!(facts(&one), facts(&two), "{path}");
    }
}

#[test]
fn a_file_that_comes_twice_is_the_second_and_has_no_recipe() {
    if !root() {
        return;
    }
    let ground = Ground::new();
    let archive = Maker::default().file("a", b"first").file("a", b"second").done();
    let unpacked = unpack(archive.as_slice(), &ground.layer(), None, &Limits::default()).unwrap();
    assert!(!unpacked.repeatable);
    assert_eq!(fs::read_to_string(ground.layer().join("a")).unwrap(), "second");
    assert_eq!(fs::metadata(ground.layer().join("a")).unwrap().permissions(), Permissions::from_mode(0o100_644));
}

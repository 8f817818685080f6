//! Purges of abandoned uploads.

use super::Purged;
use crate::Directory;
use roadstead_oci::RepositoryName;
use roadstead_storage::UploadSession;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

const WEEK: Duration = Duration::from_hours(168);
const DAY: Duration = Duration::from_hours(24);

fn session(name: &str, number: u8) -> UploadSession {
    UploadSession::from_random(RepositoryName::parse(name).unwrap(), [number; 16])
}

/// Takes no reports.
fn nobody(_: &UploadSession, _: u64) {}

/// Makes a directory and its files look as old as a week and an hour.
fn age(directory: &Path) {
    let old = SystemTime::now() - WEEK - Duration::from_hours(1);
    for entry in fs::read_dir(directory).unwrap() {
        File::open(entry.unwrap().path()).unwrap().set_modified(old).unwrap();
    }
    File::open(directory).unwrap().set_modified(old).unwrap();
}

#[test]
fn abandoned_uploads_are_removed_by_age() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::open(root.path()).unwrap();
    let all = [session("a", 1), session("a/b", 2), session("a/b", 3), session("c", 4)];
    for session in &all {
        directory.begin(session).unwrap();
        let mut appender = directory.append(session, None).unwrap();
        appender.write(b"bytes").unwrap();
        appender.finish(&directory).unwrap();
    }
    let path = |session: &UploadSession| directory.session_path(session);
    all[..3].iter().for_each(|session| age(&path(session)));
    // Nothing but a directory, as a full disk or a kill leaves it.
    let empty = session("e", 5);
    fs::create_dir_all(path(&empty)).unwrap();
    age(&path(&empty));
    // One is in use, though nothing arrives.
    let used = directory.append(&all[1], None).unwrap();
    age(&path(&all[1]));
    let found = directory.purge(WEEK, true, nobody).unwrap();
    assert_eq!((found.sessions, found.temporary), (4, 0));
    assert!(all.iter().all(|session| path(session).exists()));
    let second = Directory::open(root.path()).unwrap();
    assert_eq!(second.purge(WEEK, false, nobody), Ok(Purged::default()));
    // A temporary file of a process that died, and one of a process that may live.
    let temporary = directory.temporary_directory();
    for (name, is_old) in [("0000000000000001-1", true), ("0000000000000002-1", false)] {
        let file = File::create(temporary.join(name)).unwrap();
        if is_old {
            file.set_modified(SystemTime::now() - WEEK).unwrap();
        }
    }
    let purged = directory.purge(WEEK, false, nobody).unwrap();
    assert_eq!((purged.sessions, purged.temporary), (3, 1));
    let left: Vec<bool> = all.iter().map(|session| path(session).exists()).collect();
    assert_eq!(left, [false, true, false, true]);
    assert!(!path(&empty).parent().unwrap().exists());
    assert_eq!(directory.status(&all[3]), Ok(5));
    assert_eq!(used.finish(&directory), Ok(5));
    let left = fs::read_dir(directory.temporary_directory()).unwrap().count();
    assert_eq!(left, 1, "temporary files");
}

#[test]
fn who_outlives_the_owner_removes_uploads() {
    let root = tempfile::tempdir().unwrap();
    let first = Directory::open(root.path()).unwrap();
    let second = Directory::open(root.path()).unwrap();
    let abandoned = session("a", 1);
    second.begin(&abandoned).unwrap();
    age(&second.session_path(&abandoned));
    assert_eq!(second.purge(WEEK, false, nobody), Ok(Purged::default()));
    drop(first);
    assert_eq!(second.purge(WEEK, false, nobody).unwrap().sessions, 1);
    assert!(second.owns_sessions());
}

/// Makes a session as `registry:2` does, with what is old and what is not.
fn foreign(directory: &Directory, session: &UploadSession, young: &[&str]) {
    let path = directory.session_path(session);
    fs::create_dir_all(path.join("hashstates/sha256")).unwrap();
    let old = SystemTime::now() - WEEK - Duration::from_hours(1);
    // Its beginning is long ago in any case, and does not count.
    let started = "2026-01-02T03:04:05Z".as_bytes();
    for (file, bytes) in
        [("startedat", started), ("data", b"12345678"), ("hashstates/sha256/8", b"123")]
    {
        fs::write(path.join(file), bytes).unwrap();
        if !young.contains(&file) {
            File::open(path.join(file)).unwrap().set_modified(old).unwrap();
        }
    }
}

#[test]
fn uploads_of_another_registry_are_removed_by_their_last_write() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::open(root.path()).unwrap();
    let all = [session("a", 1), session("a", 2), session("a", 3), session("b/c", 4)];
    foreign(&directory, &all[0], &[]);
    foreign(&directory, &all[1], &["data"]);
    foreign(&directory, &all[2], &["hashstates/sha256/8"]);
    foreign(&directory, &all[3], &[]);
    // What is no session of any registry stays.
    let other = root.path().join("docker/registry/v2/repositories/a/_uploads/other");
    fs::create_dir(&other).unwrap();
    age(&other);
    let mut reported = Vec::new();
    let report = |session: &UploadSession, bytes| reported.push((session.clone(), bytes));
    let purged = directory.purge(WEEK, false, report).unwrap();
    assert_eq!((purged.sessions, purged.bytes), (2, 62));
    reported.sort();
    assert_eq!(reported, [(all[0].clone(), 31), (all[3].clone(), 31)]);
    let left = all.each_ref().map(|session| directory.session_path(session).exists());
    assert_eq!(left, [false, true, true, false]);
    assert!(other.exists());
}

/// What a dry run reports is what the real one removes.
#[test]
fn a_dry_run_removes_nothing_and_reports_the_same() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::open(root.path()).unwrap();
    let all = [session("a", 1), session("b", 2), session("b", 3)];
    for session in &all {
        directory.begin(session).unwrap();
        let mut appender = directory.append(session, None).unwrap();
        appender.write(b"bytes").unwrap();
        appender.finish(&directory).unwrap();
    }
    all[..2].iter().for_each(|session| age(&directory.session_path(session)));
    let run = |dry_run| {
        let mut reported = Vec::new();
        let report = |session: &UploadSession, bytes| reported.push((session.clone(), bytes));
        let purged = directory.purge(WEEK, dry_run, report).unwrap();
        reported.sort();
        (purged, reported)
    };
    let left = || all.each_ref().map(|session| directory.session_path(session).exists());
    let dry = run(true);
    assert_eq!(left(), [true; 3]);
    // An age that none has.
    let longer = directory.purge(2 * WEEK, false, nobody).unwrap();
    assert_eq!((longer, left()), (Purged::default(), [true; 3]));
    let real = run(false);
    assert_eq!((&dry, left()), (&real, [false, false, true]));
    assert_eq!(real.1.iter().map(|(session, _)| session).collect::<Vec<_>>(), [&all[0], &all[1]]);
    assert_eq!(run(false), (Purged::default(), Vec::new()));
}

#[test]
fn an_upload_removes_some_abandoned_ones() {
    let root = tempfile::tempdir().unwrap();
    let _owner = Directory::open(root.path()).unwrap();
    // It owns no sessions, like a component.
    let directory = Directory::open(root.path()).unwrap();
    let begin = |session: &UploadSession| directory.begin(session).unwrap();
    let path = |session: &UploadSession| directory.session_path(session);
    let old: Vec<_> = (1..=40).map(|number| session("a", number)).collect();
    let (elsewhere, used) = (session("b", 1), session("a", 0x51));
    for session in old.iter().chain([&elsewhere, &used]) {
        begin(session);
        age(&path(session));
    }
    // With files of these ages in minutes.
    let [young, older] = [(0x50, 59), (0x52, 61)].map(|(number, minutes)| {
        let session = session("a", number);
        begin(&session);
        let started = File::open(path(&session).join("startedat")).unwrap();
        started.set_modified(SystemTime::now() - Duration::from_mins(minutes)).unwrap();
        session
    });
    let _appender = directory.append(&used, None).unwrap();
    let left = || old.iter().filter(|session| path(session).exists()).count();
    let purge = |number, age, dry_run| {
        directory.purge_beside(&session("a", number), age, DAY, dry_run).unwrap().sessions
    };
    assert_eq!((purge(0x61, WEEK, false), left()), (0, 40), "not its turn");
    assert_eq!((purge(0x70, WEEK, true), left()), (32, 40), "a dry run");
    assert_eq!((purge(0x70, WEEK, false), left()), (32, 8));
    assert_eq!((purge(0x70, Duration::ZERO, false), left()), (9, 0));
    assert_eq!(purge(0x70, Duration::ZERO, false), 0);
    let all = [&elsewhere, &young, &used, &older].map(|session| path(session).exists());
    assert_eq!(all, [true, true, true, false]);
}

/// Sessions of repositories to which nobody pushes go as well, a few repositories at a time;
/// and once that has looked at all, it waits.
#[test]
fn uploads_walk_over_other_repositories() {
    let root = tempfile::tempdir().unwrap();
    let _owner = Directory::open(root.path()).unwrap();
    let directory = Directory::open(root.path()).unwrap();
    let path = |session: &UploadSession| directory.session_path(session);
    let begin = |session: UploadSession| {
        directory.begin(&session).unwrap();
        age(&path(&session));
        session
    };
    // Of a repository with more than one upload removes, and of many with one each.
    let mut old: Vec<_> = (1..=40).map(|number| begin(session("many", number))).collect();
    old.extend((10..30).map(|number| begin(session(&format!("one/{number}"), 1))));
    let young = session("one/10", 2);
    directory.begin(&young).unwrap();
    let left = || old.iter().filter(|session| path(session).exists()).count();
    let purge = |number, dry_run| {
        let beside = session("busy", number);
        directory.purge_beside(&beside, WEEK, DAY, dry_run).unwrap().sessions
    };
    assert_eq!((purge(0x50, false), left()), (0, 60), "it looks at its own repository");
    // A dry run goes on after the repository in which it ended.
    let progress = root.path().join(".roadstead/upload-purge");
    assert_eq!(purge(0x60, true), 32);
    assert_eq!(fs::read(&progress).unwrap(), b"604800 true\nafter many\n");
    let dry: Vec<u64> = (0..4).map(|_| purge(0x60, true)).collect();
    assert_eq!((dry, left()), (vec![8, 8, 4, 0], 60));
    let modify = |time| File::options().write(true).open(&progress).unwrap().set_modified(time);
    assert_eq!(fs::read(&progress).unwrap(), b"604800 true\nended\n");
    // With other settings, all is due.
    let removed: Vec<u64> = (0..5).map(|_| purge(0x60, false)).collect();
    assert_eq!((removed, left()), (vec![32, 15, 8, 5, 0], 0));
    assert!(path(&young).exists());

    let ended = "604800 false\nended\n";
    assert_eq!(fs::read_to_string(&progress).unwrap(), ended);
    let next = begin(session("one/10", 3));
    modify(SystemTime::now() - DAY + Duration::from_hours(1)).unwrap();
    assert_eq!(purge(0x60, false), 0, "it is not due");
    modify(SystemTime::now() - DAY - Duration::from_hours(1)).unwrap();
    assert_eq!((purge(0x60, false), path(&next).exists()), (1, false));
    // Nor does a wrong clock make it wait for ever, or what the file should not hold.
    modify(SystemTime::now() + DAY + Duration::from_hours(1)).unwrap();
    begin(next.clone());
    assert_eq!((purge(0x60, false), path(&next).exists()), (1, false));
    for content in [&b"\xff"[..], b"", b"604800 false", b"604800 false\nx\n", &[b'x'; 2000]] {
        begin(next.clone());
        fs::write(&progress, content).unwrap();
        assert_eq!((purge(0x60, false), path(&next).exists()), (1, false));
        assert_eq!(fs::read_to_string(&progress).unwrap(), ended);
    }
    begin(next.clone());
    fs::write(&progress, "604800 false\nafter one/10\n").unwrap();
    assert_eq!((purge(0x60, false), path(&next).exists()), (0, true));
    assert_eq!(fs::read_to_string(&progress).unwrap(), ended);
    // Where the file cannot be written, the removal counts nevertheless.
    fs::remove_file(&progress).unwrap();
    fs::create_dir_all(progress.join("x")).unwrap();
    assert_eq!((purge(0x60, false), path(&next).exists()), (1, false));
}

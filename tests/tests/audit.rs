//! The audit of whole tables and exports: right ones pass, and every kind of damage shows where
//! it is, however the items are ordered, and after an interruption as well.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use uc_audit::cli::Options;
use uc_audit::{Findings, export, generate};

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("uc-tests-{:016x}", fastrand::u64(..)));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn options(state: Option<PathBuf>) -> Options {
    Options { state, parallel: NonZeroUsize::new(2).unwrap(), keys: Vec::new(), allow_empty: false }
}

fn audit(path: &Path) -> Findings {
    export::audit(&[path.to_owned()], &options(None)).unwrap()
}

/// The first line whose item has these keys.
fn find(lines: &[Value], pk: &str, sk: &str) -> usize {
    let is = |line: &Value| {
        let key = |name: &str| line["Item"][name]["S"].as_str().unwrap_or_default();
        key("pk").starts_with(pk) && key("sk").starts_with(sk)
    };
    lines.iter().position(is).unwrap()
}

#[tokio::test]
async fn damage_in_an_export_shows() {
    let scratch = Scratch::new();
    let path = scratch.0.join("export.json.gz");
    generate::export(210, 7, 1, &path).await.unwrap();
    let right = audit(&path);
    assert_eq!((right.accounts, right.entries, right.differing), (7, 210, 0), "{right:?}");

    let read = |path: &Path| -> Vec<Value> {
        let mut text = String::new();
        let file = std::fs::File::open(path).unwrap();
        let mut file = flate2::read::MultiGzDecoder::new(file);
        std::io::Read::read_to_string(&mut file, &mut text).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let intact = read(&path);
    let other = scratch.0.join("other.json.gz");
    generate::export(210, 7, 2, &other).await.unwrap();
    let other = read(&other);
    let account = "A#workspace_00000003";
    let check = |name: &str, damage: &dyn Fn(&mut Vec<Value>), expected: &str| {
        let mut lines = intact.clone();
        damage(&mut lines);
        // In any order and in several files.
        fastrand::shuffle(&mut lines);
        let directory = scratch.0.join(name);
        std::fs::create_dir(&directory).unwrap();
        for (number, lines) in lines.chunks(200).enumerate() {
            let lines = lines.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n") + "\n";
            std::fs::write(directory.join(format!("{number}.json")), lines).unwrap();
        }
        let found = audit(&directory);
        if expected.is_empty() {
            assert_eq!(found, right, "{name}");
        } else {
            assert_eq!(found.differing, 1, "{name}: {found:?}");
            assert!(found.shown[0].contains(expected), "{name}: {found:?}");
        }
    };
    check("intact", &|_| {}, "");
    check(
        "erased",
        &|lines| {
            for line in lines {
                line["Item"].as_object_mut().unwrap().remove("x");
            }
        },
        "",
    );
    check(
        "entry missing",
        &|lines| drop(lines.remove(find(lines, account, "E#000000000003"))),
        "workspace_00000003: entry 3",
    );
    check(
        "hash changed",
        &|lines| {
            let at = find(lines, account, "E#000000000005");
            let other = lines[find(lines, account, "E#000000000004")]["Item"]["h"].clone();
            lines[at]["Item"]["h"] = other;
        },
        "entry 5: corrupt: entry E#000000000005 of workspace_00000003: it is not what was written",
    );
    check(
        "an entry of another history",
        &|lines| {
            let at = find(lines, account, "E#000000000005");
            lines[at] = other[find(&other, account, "E#000000000005")].clone();
        },
        "entry 5: the hash does not follow",
    );
    check(
        "operation item missing",
        &|lines| drop(lines.remove(find(lines, "O#workspace_00000003#", "O"))),
        "is not named by its item",
    );
    check(
        "an operation past the head",
        &|lines| {
            let at = find(lines, "O#workspace_00000003#", "O");
            let mut item = lines[at].clone();
            item["Item"]["pk"] = json!({"S": "O#workspace_00000003#c#extra"});
            item["Item"]["q"] = json!({"N": "9999"});
            lines.push(item);
        },
        "names op_9999_0, which is not there",
    );
    check(
        "an operation that another item names",
        &|lines| {
            let at = find(lines, "O#workspace_00000003#c#", "O");
            let mut item = lines[at].clone();
            item["Item"]["pk"] = json!({"S": "O#workspace_00000003#pay:standard#future"});
            lines.push(item);
        },
        "which is not its own",
    );
    check(
        "a checkpoint that nobody signed",
        &|lines| {
            let entry = lines[find(lines, account, "E#000000000002")]["Item"].clone();
            lines.push(json!({"Item": {
                "pk": {"S": "C#workspace_00000003"}, "sk": {"S": "2026-01-02"}, "q": {"N": "2"},
                "h": entry["h"], "kid": {"S": "k"}, "s": {"B": "AAAA"},
            }}));
        },
        "not signed by the key k",
    );
    check("not an item", &|lines| lines.push(json!({"Key": 1})), "a line of the export");
}

#[test]
fn an_export_of_nothing_fails_where_it_may_be_a_wrong_one() {
    let scratch = Scratch::new();
    let path = scratch.0.join("export.json");
    std::fs::write(&path, "").unwrap();
    let failed = export::audit(std::slice::from_ref(&path), &options(None)).unwrap_err();
    assert!(failed.to_string().contains("there is no account"), "{failed}");
    let empty = Options { allow_empty: true, ..options(None) };
    assert_eq!(export::audit(&[path], &empty).unwrap(), Findings::default());
}

#[tokio::test]
async fn an_audit_goes_on_where_it_stopped() {
    let scratch = Scratch::new();
    let path = scratch.0.join("export.jsonl");
    generate::export(200, 20, 2, &path).await.unwrap();
    let state = scratch.0.join("state.json");
    let whole = export::audit(std::slice::from_ref(&path), &options(Some(state.clone()))).unwrap();
    assert_eq!((whole.accounts, whole.entries, whole.differing), (20, 200, 0));
    // All is done: there is nothing to go on with, so everything is read again.
    assert!(!state.exists());
    let again = export::audit(std::slice::from_ref(&path), &options(Some(state.clone()))).unwrap();
    assert_eq!(again, whole);
    // A file that is given twice is one.
    let twice = [path.clone(), scratch.0.clone()];
    assert_eq!(export::audit(&twice, &options(None)).unwrap(), whole);
    // One that was interrupted is not gone on with for other files, nor with other keys.
    let size = std::fs::metadata(&path).unwrap().len();
    let key = json!({"k": vec![0; 32]});
    for (files, trusted, expected) in [
        (json!([["other.jsonl", 1]]), json!({}), "another export"),
        (json!([[path, size]]), key, "other keys"),
    ] {
        let kept = json!({"parts": 1, "files": files, "trusted": trusted, "is_divided": true,
            "done": [], "keys": {}, "findings": whole});
        std::fs::write(&state, kept.to_string()).unwrap();
        let paths = std::slice::from_ref(&path);
        let refused = export::audit(paths, &options(Some(state.clone()))).unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
    std::fs::remove_file(&state).unwrap();
    // What somebody else keeps where the parts would be stays.
    let theirs = scratch.0.join("state.json.parts").join("theirs.txt");
    std::fs::create_dir(theirs.parent().unwrap()).unwrap();
    std::fs::write(&theirs, "x").unwrap();
    let refused = export::audit(&[path], &options(Some(state))).unwrap_err().to_string();
    assert!(refused.contains("theirs.txt") && theirs.exists(), "{refused}");
}

/// Of an interrupted audit only those parts are gone on with that are as they were written.
#[tokio::test]
async fn damaged_parts_are_written_anew() {
    let scratch = Scratch::new();
    let path = scratch.0.join("export.jsonl");
    generate::export(200, 20, 2, &path).await.unwrap();
    let state = scratch.0.join("state.json");
    let (parts, kept) = (scratch.0.join("state.json.parts"), scratch.0.join("kept"));
    let files: Vec<String> = (0..16).map(|part| format!("{part:03}.part")).collect();
    // What an audit writes is seen through other names after it has removed its own.
    std::fs::create_dir_all(&parts).unwrap();
    std::fs::create_dir_all(&kept).unwrap();
    for file in &files {
        std::fs::write(kept.join(file), "").unwrap();
        std::fs::hard_link(kept.join(file), parts.join(file)).unwrap();
    }
    let resume = || {
        let options = Options { allow_empty: true, ..options(Some(state.clone())) };
        export::audit(std::slice::from_ref(&path), &options).unwrap()
    };
    let whole = resume();
    assert_eq!((whole.accounts, whole.differing), (20, 0));
    let bytes = |file: &String| std::fs::read(kept.join(file)).unwrap();
    let sums: Vec<Value> = files
        .iter()
        .map(|file| {
            let mut crc = flate2::Crc::new();
            crc.update(&bytes(file));
            json!({"bytes": bytes(file).len(), "crc": crc.sum()})
        })
        .collect();
    let damaged = files.iter().position(|file| bytes(file).len() > 100).unwrap();
    let size = std::fs::metadata(&path).unwrap().len();
    let check = |name: &str, damage: &dyn Fn(&Path), sums: &Value, done: &[u64], expected| {
        std::fs::create_dir_all(&parts).unwrap();
        for file in &files {
            std::fs::write(parts.join(file), bytes(file)).unwrap();
        }
        damage(&parts.join(&files[damaged]));
        let all = json!({"parts": 8, "files": [[path, size]], "is_divided": true, "sums": sums,
            "done": done, "keys": {}, "findings": Findings::default()});
        std::fs::write(&state, all.to_string()).unwrap();
        assert_eq!(resume(), expected, "{name}");
    };
    let sums = json!(sums);
    let every: Vec<u64> = (0..16).collect();
    let flipped: &dyn Fn(&Path) = &|part| {
        let mut bytes = std::fs::read(part).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(part, bytes).unwrap();
    };
    check("intact", &|_| {}, &sums, &[], whole.clone());
    check("audited, and not looked at again", flipped, &sums, &every, Findings::default());
    check("a byte is another", flipped, &sums, &[], whole.clone());
    check("emptied", &|part| std::fs::write(part, "").unwrap(), &sums, &[], whole.clone());
    check("gone", &|part| std::fs::remove_file(part).unwrap(), &sums, &[], whole.clone());
    check("of an earlier version", flipped, &json!([]), &[], whole.clone());
}

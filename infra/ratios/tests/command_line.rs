//! The program as operators run it, against a deployment that this file plays.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const TABLE: &str = r#"{
    "credit": {"scale": 4, "rounding": "up"},
    "groups": {"default": "1"},
    "features": {"text": {"dimensions": ["input_tokens"]}},
    "models": {"m": {"feature": "text", "ratios": [
        {"dimension": "input_tokens", "credits": "1", "per": 1000000}
    ]}}
}"#;

/// A deployment that knows one table, of which it counts the versions.
struct Deployment {
    url: String,
    version: Arc<AtomicU64>,
    /// `If-Match` of the pushes.
    pushed: Arc<Mutex<Vec<String>>>,
}

impl Deployment {
    fn start(version: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let version = Arc::new(AtomicU64::new(version));
        let pushed = Arc::new(Mutex::new(Vec::new()));
        let (current, matched) = (Arc::clone(&version), Arc::clone(&pushed));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let mut request = String::new();
                stream.read_line(&mut request).unwrap();
                let (mut length, mut if_match) = (0, None);
                loop {
                    let mut header = String::new();
                    stream.read_line(&mut header).unwrap();
                    let Some((name, value)) = header.trim().split_once(": ") else { break };
                    match name.to_ascii_lowercase().as_str() {
                        "content-length" => length = value.parse().unwrap(),
                        "if-match" => if_match = Some(value.trim_matches('"').to_owned()),
                        _ => {}
                    }
                }
                stream.read_exact(&mut vec![0; length]).unwrap();
                let version = current.load(Ordering::SeqCst);
                let (status, body) = match if_match {
                    None if request.contains("/versions?") => {
                        let items = Some(version).filter(|version| *version > 0);
                        let items = items.map(|version| format!(r#"{{"version":{version}}}"#));
                        ("200 OK", format!(r#"{{"items":[{}]}}"#, items.unwrap_or_default()))
                    }
                    None => ("200 OK", TABLE.to_owned()),
                    Some(matched_version) => {
                        matched.lock().unwrap().push(matched_version.clone());
                        if matched_version == version.to_string() {
                            current.store(version + 1, Ordering::SeqCst);
                            ("200 OK", format!(r#"{{"version":{}}}"#, version + 1))
                        } else {
                            let problem = r#"{"code":"precondition_failed","detail":"Another."}"#;
                            ("412 Precondition Failed", problem.to_owned())
                        }
                    }
                };
                let length = body.len();
                write!(
                    stream.get_mut(),
                    "HTTP/1.1 {status}\r\nETag: \"{version}\"\r\nContent-Length: {length}\r\n\
                     Connection: close\r\n\r\n{body}"
                )
                .unwrap();
            }
        });
        Self { url, version, pushed }
    }
}

fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn ratios(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ratios"));
    command.args(arguments).env("UC_URL", url).env("UC_API_KEY", "uc_id_secret");
    command
}

/// Whether it ended well, and what it said.
fn run(url: &str, arguments: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } = ratios(url, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.success(), text(stdout) + &text(stderr))
}

#[test]
fn a_push_replaces_only_what_was_looked_at() {
    let deployment = Deployment::start(7);
    let file = directory("base").join("ratios.json");
    fs::write(&file, TABLE).unwrap();
    let file = file.to_str().unwrap();
    let check = |arguments: &[&str], good: bool, says: &str| {
        let (ended_well, said) = run(&deployment.url, arguments);
        assert!(ended_well == good && said.contains(says), "{arguments:?}: {said}");
    };
    let push: &[&str] = &["push", file];
    let diff: &[&str] = &["diff", "current", file];

    check(push, false, "version 7 is in force, and");
    check(diff, true, "version 7 is in force");
    // Somebody else publishes.
    deployment.version.store(8, Ordering::SeqCst);
    check(
        push,
        false,
        "precondition_failed: Another.\nsee what was published meanwhile by `ratios diff",
    );
    check(diff, true, "version 8 is in force");
    check(push, true, "version 9 is in force");
    // What was pushed is known, too.
    check(push, true, "version 10 is in force");
    check(&["push", file, "--over", "8"], false, "precondition_failed");
    assert_eq!(*deployment.pushed.lock().unwrap(), ["7", "8", "9", "8"]);
    // A file that was pulled; and another deployment is another one.
    let pulled = format!("{file}.pulled");
    check(&["pull", "--out", &pulled], true, "version 10");
    check(&["push", &pulled], true, "version 11 is in force");
    let other = Deployment::start(3);
    let (good, said) = run(&other.url, &["push", &pulled]);
    assert!(!good && said.contains("version 3 is in force, and"), "{said}");
    // A first version replaces nothing.
    let empty = Deployment::start(0);
    assert_eq!(run(&empty.url, push), (true, "version 1 is in force\n".to_owned()));
}

#[test]
fn nobody_there_ends_at_once() {
    let file = directory("nobody").join("ratios.json");
    fs::write(&file, TABLE).unwrap();
    // A port that was free just now.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for url in [&format!("http://127.0.0.1:{port}"), "http://host.invalid", "nowhere"] {
        let started = Instant::now();
        let (good, said) = run(url, &["push", file.to_str().unwrap(), "--over", "1"]);
        assert!(!good && said.contains("gives no answer"), "{url}: {said}");
        assert!(started.elapsed() < Duration::from_secs(30), "{url}");
    }
}

#[test]
fn files_are_written_whoever_listens() {
    let directory = directory("pipes");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/costs/litellm.json");
    let costs = directory.join("costs.json");
    let table = directory.join("ratios.json");
    let closed = |arguments: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = ratios("http://127.0.0.1:1", arguments);
        command.stderr(writer.try_clone().unwrap()).stdout(writer).stdin(Stdio::null());
        assert!(command.status().unwrap().success(), "{arguments:?}");
    };
    let costs = costs.to_str().unwrap();
    closed(&["import", source, "--from", "litellm", "--list", "--out", costs]);
    closed(&["import", source, "--from", "litellm"]);
    let margin = ["--credit-price", "0.001", "--margin", "0.3"];
    let mut calculate = vec!["calculate", costs, "--out", table.to_str().unwrap()];
    calculate.extend(margin);
    closed(&calculate);
    assert!(fs::metadata(&table).unwrap().len() > 1_000);
}

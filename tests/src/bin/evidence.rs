//! Runs what proves the ledger, and prints a table of it: what was run, how often, how long, and
//! whether it holds.
//!
//! Every kind is tests or a tool of their own, which print what they did on lines of the form
//!
//! ```text
//! evidence: <kind>: <count> <what>, <count> <what>
//! ```
//!
//! How much they do is in their environment: `PROPTEST_CASES`, `UC_SEEDS`, `UC_MINUTES`. What they
//! print is passed on where they fail: the seed or the history that broke is in there.

use std::io::{self, BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use clap::Parser;
use clap::builder::PossibleValuesParser;
use serde_json::Value;

/// All kinds, in the order in which they run: what is cheap first.
const KINDS: [&str; 7] =
    ["tables", "model", "simulation", "linearizability", "faults", "mutation", "fuzzing"];
/// What a line of evidence begins with.
const MARK: &str = "evidence: ";
/// The fuzz targets, in `tests/fuzz`.
const TARGETS: [&str; 5] = ["entries", "cursors", "bodies", "responses", "ratios"];
/// Where tools, seeds and results are kept.
const CACHE: &str = ".cache";

/// Runs what proves the ledger, and prints a table of it.
#[derive(Parser)]
#[command(name = "evidence", bin_name = "cargo evidence")]
struct Arguments {
    /// Minutes for the simulation, for each fuzz target, and for what else runs until it is told
    /// to stop.
    #[arg(long)]
    minutes: Option<u64>,
    /// Seeds of the simulation.
    #[arg(long)]
    seeds: Option<u64>,
    /// Random histories against the model; of crowded accounts a quarter of it.
    #[arg(long)]
    histories: Option<u32>,
    /// Only this kind; may be given several times.
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(KINDS))]
    only: Vec<String>,
    /// Mutation testing too, which takes hours.
    #[arg(long)]
    mutants: bool,
    /// Fuzzing too: a minute a target, or `--minutes`.
    #[arg(long)]
    fuzz: bool,
}

impl Arguments {
    fn has(&self, kind: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == kind)
    }

    /// Whether a kind that takes long was asked for.
    fn asks_for(&self, kind: &str) -> bool {
        let flag = if kind == "mutation" { self.mutants } else { self.fuzz };
        flag || self.only.iter().any(|only| only == kind)
    }
}

/// What came of one kind.
struct Outcome {
    kind: &'static str,
    /// What was run.
    counts: Vec<String>,
    taken: Duration,
    result: Result<&'static str, String>,
}

/// What a command did.
struct Run {
    lines: Vec<String>,
    success: bool,
}

impl Run {
    /// What was said of a kind.
    fn counts(&self, kind: &str) -> Vec<String> {
        // A test's own name may stand before what it prints.
        let said = self.lines.iter().filter_map(|line| line.split_once(MARK));
        let of_kind = said.filter_map(|(_, said)| said.strip_prefix(kind)?.strip_prefix(": "));
        of_kind.map(str::to_owned).collect()
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    if let Err(error) = env::set_current_dir(root) {
        eprintln!("the repository is not there: {error}");
        return ExitCode::FAILURE;
    }
    let mut outcomes = Vec::new();
    for kind in KINDS.into_iter().filter(|kind| arguments.has(kind)) {
        eprintln!("{kind} ...");
        let started = Instant::now();
        let run = match kind {
            "tables" => tables(&arguments),
            "model" => model(&arguments),
            "simulation" => simulation(&arguments),
            "mutation" if arguments.asks_for(kind) => mutation(),
            "fuzzing" if arguments.asks_for(kind) => fuzzing(&arguments),
            "mutation" | "fuzzing" => {
                let result = Ok("on demand");
                outcomes.push(Outcome { kind, counts: vec![], taken: Duration::ZERO, result });
                continue;
            }
            "linearizability" => tests(&arguments, HISTORIES),
            "faults" => tests(&arguments, FAULTS)
                .and_then(|on_the_way| Ok(on_the_way.and(tests(&arguments, KILLED)?))),
            _ => unreachable!("it is none of the kinds"),
        };
        let taken = started.elapsed();
        outcomes.push(match run {
            Ok(run) => {
                let counts = run.counts(kind);
                let result = match (run.success, counts.is_empty()) {
                    (true, false) => Ok("holds"),
                    (true, true) => Err("it said nothing of what it did".to_owned()),
                    (false, _) => Err("FAILED".to_owned()),
                };
                if result.is_err() {
                    eprintln!("{}", run.lines.join("\n"));
                }
                Outcome { kind, counts, taken, result }
            }
            Err(error) => Outcome { kind, counts: vec![], taken, result: Err(error.to_string()) },
        });
    }
    print(&outcomes);
    ExitCode::from(u8::from(outcomes.iter().any(|outcome| outcome.result.is_err())))
}

/// What tests are run with, so that they are heard.
const NOCAPTURE: &[&str] = &["--", "--nocapture"];

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The cases, by the state machine and by the ledger.
fn tables(arguments: &Arguments) -> io::Result<Run> {
    let mut domain = cargo();
    domain.args(["test", "--package", "uc-domain", "--lib", "account::tests::cases::cases"]);
    let domain = run(arguments, &mut domain, NOCAPTURE)?;
    Ok(domain.and(tests(arguments, TABLES)?))
}

/// Tests: a file of one of the workspace's test targets, and where it is only a part of that, the
/// module.
type Tests = (&'static str, Option<&'static str>);

const TABLES: Tests = ("tests/tests/tables.rs", None);
const HISTORIES: Tests = ("tests/tests/end_to_end.rs", Some("histories"));
/// Faults on the way to the store.
const FAULTS: Tests = ("tests/tests/end_to_end.rs", Some("faults"));
/// Faults of the whole stack.
const KILLED: Tests = ("infra/local/tests/killed.rs", None);

fn tests(arguments: &Arguments, (file, module): Tests) -> io::Result<Run> {
    let target = Path::new(file).file_stem().expect("it names a file");
    let mut command = cargo();
    command.args(["test", "--workspace", "--test"]).arg(target);
    if let Some(module) = module {
        command.arg(format!("{module}::"));
    }
    run(arguments, &mut command, NOCAPTURE)
}

fn model(arguments: &Arguments) -> io::Result<Run> {
    let mut command = cargo();
    command.args(["test", "--package", "uc-domain", "--lib", "account::tests::histories"]);
    if let Some(histories) = arguments.histories {
        command.env("PROPTEST_CASES", histories.to_string());
    }
    run(arguments, &mut command, NOCAPTURE)
}

fn simulation(arguments: &Arguments) -> io::Result<Run> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "uc-tests", "--bin", "simulate", "--"]);
    for (option, value) in [("--seeds", arguments.seeds), ("--minutes", arguments.minutes)] {
        if let Some(value) = value {
            command.args([option, &value.to_string()]);
        }
    }
    run(arguments, &mut command, &[])
}

/// All mutants of what `.cargo/mutants.toml` names. Those that survive are to be explained in
/// `tests/mutants.md`.
fn mutation() -> io::Result<Run> {
    let tool = tool("cargo-mutants")?;
    let mut command = Command::new(tool);
    command.args([
        "mutants",
        "--gitignore",
        "true",
        "--output",
        CACHE,
        "--no-shuffle",
        "--colors",
        "never",
    ]);
    // Few: every mutant runs them. And nobody reads what a failing one shrinks to.
    command.env("PROPTEST_CASES", "32").env("PROPTEST_MAX_SHRINK_ITERS", "0");
    let mut run = listen(&mut command)?;
    let outcomes = fs::read_to_string(Path::new(CACHE).join("mutants.out/outcomes.json"))?;
    let outcomes: Value = serde_json::from_str(&outcomes)?;
    let count = |name: &str| outcomes[name].as_u64().unwrap_or_default();
    run.lines.push(format!(
        "{MARK}mutation: {} mutants, {} killed by a test, {} killed by time, {} that do not compile",
        count("total_mutants"),
        count("caught"),
        count("timeout"),
        count("unviable"),
    ));
    let explained = fs::read_to_string("tests/mutants.md")?;
    let missed = fs::read_to_string(Path::new(CACHE).join("mutants.out/missed.txt"))?;
    let missed: Vec<&str> = missed.lines().map(unplaced).collect();
    let unexplained = missed.iter().filter(|mutant| !explained.contains(**mutant));
    let unexplained: Vec<String> =
        unexplained.map(|mutant| format!("unexplained: {mutant}")).collect();
    run.lines.push(format!(
        "{MARK}mutation: {} survived, {} of them not explained",
        missed.len(),
        unexplained.len()
    ));
    // The tool itself calls every survivor a failure.
    run.success = count("total_mutants") > 0 && unexplained.is_empty();
    run.lines.extend(unexplained);
    Ok(run)
}

/// A mutant without its line and column, which change with every line above it.
fn unplaced(mutant: &str) -> &str {
    mutant.split_once(": ").map_or(mutant, |(_, what)| what)
}

/// Every target for its time, from its own seeds and what earlier runs have found.
fn fuzzing(arguments: &Arguments) -> io::Result<Run> {
    let tool = tool("cargo-fuzz")?;
    // The versions that everything else is built with.
    fs::copy("Cargo.lock", "tests/fuzz/Cargo.lock")?;
    let cache = env::current_dir()?.join(CACHE).join("fuzz");
    let seconds = 60 * arguments.minutes.unwrap_or(1);
    let mut all = Run { lines: Vec::new(), success: true };
    for target in TARGETS {
        let corpus = cache.join("corpus").join(target);
        let artifacts = cache.join("artifacts").join(target).join("");
        fs::create_dir_all(&corpus)?;
        fs::create_dir_all(&artifacts)?;
        let mut command = Command::new(&tool);
        // No sanitizer: there is no unsafe code to watch, and so any toolchain will do.
        command.args(["fuzz", "run", "--fuzz-dir", "tests/fuzz", "--sanitizer", "none"]);
        command.arg("--target-dir").arg(cache.join("target")).arg(target).arg(&corpus);
        command.args(["--", "-print_final_stats=1", "-timeout=10", "-max_len=65536"]);
        command.arg(format!("-max_total_time={seconds}"));
        command.arg(format!("-artifact_prefix={}", artifacts.display()));
        command.env("UC_FUZZ_SEEDS", &corpus);
        let mut run = listen(&mut command)?;
        let stat = |name: &str| {
            let value = run.lines.iter().find_map(|line| line.strip_prefix(name));
            value.and_then(|value| value.trim().parse::<u64>().ok())
        };
        let executed = stat("stat::number_of_executed_units:").unwrap_or_default();
        run.success &= executed > 0;
        run.lines.push(format!("{MARK}fuzzing: {executed} inputs of {target}, {seconds} seconds"));
        all = all.and(run);
    }
    Ok(all)
}

/// A cargo tool: that of the path, or one of ours that is installed where it is missing.
fn tool(name: &str) -> io::Result<PathBuf> {
    let paths = env::var_os("PATH").unwrap_or_default();
    let installed = env::current_dir()?.join(CACHE).join("tools");
    let directories = env::split_paths(&paths).chain([installed.join("bin")]);
    if let Some(found) =
        directories.map(|directory| directory.join(name)).find(|path| path.is_file())
    {
        return Ok(found);
    }
    let mut install = cargo();
    install.args(["install", "--locked", "--root"]).arg(&installed).arg(name);
    if !install.status()?.success() {
        return Err(io::Error::other(format!("{name} could not be installed")));
    }
    Ok(installed.join("bin").join(name))
}

/// Runs tests, with how much they are to do in their environment.
fn run(arguments: &Arguments, command: &mut Command, rest: &[&str]) -> io::Result<Run> {
    command.args(rest);
    for (name, value) in [("UC_SEEDS", arguments.seeds), ("UC_MINUTES", arguments.minutes)] {
        if let Some(value) = value {
            command.env(name, value.to_string());
        }
    }
    listen(command)
}

impl Run {
    fn and(mut self, other: Self) -> Self {
        self.lines.extend(other.lines);
        Self { lines: self.lines, success: self.success && other.success }
    }
}

/// Runs a command and keeps what it says on both streams.
fn listen(command: &mut Command) -> io::Result<Run> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let stderr = thread::spawn(move || stderr.map(read));
    let mut lines = stdout.map(read).unwrap_or_default();
    lines.extend(stderr.join().ok().flatten().unwrap_or_default());
    Ok(Run { lines, success: child.wait()?.success() })
}

fn read(stream: impl io::Read) -> Vec<String> {
    let mut lines = Vec::new();
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    // What is fuzzed may print anything.
    while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
    }
    lines
}

/// The table: the first row of a kind has its time and its result.
fn print(outcomes: &[Outcome]) {
    let mut out = io::stdout().lock();
    // A reader that is gone needs no table.
    let _ = writeln!(out, "{:<16} {:>9}  {:<10} what was run", "kind", "seconds", "result");
    for outcome in outcomes {
        let seconds = format!("{:.1}", outcome.taken.as_secs_f32());
        let result = outcome.result.as_ref().map_or_else(String::as_str, |result| *result);
        let mut row = (outcome.kind, seconds.as_str(), result);
        let nothing = [String::new()];
        let counts = if outcome.counts.is_empty() { &nothing[..] } else { &outcome.counts };
        for count in counts {
            let _ = writeln!(out, "{:<16} {:>9}  {:<10} {count}", row.0, row.1, row.2);
            row = ("", "", "");
        }
    }
}

#[cfg(test)]
mod checks {
    use super::*;

    /// A name that leads nowhere would show only when somebody asks for the evidence.
    #[test]
    fn the_tests_are_where_they_are_looked_for() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (file, module) in [TABLES, HISTORIES, FAULTS, KILLED] {
            let target = root.join(file);
            assert!(target.is_file(), "{file}");
            if let Some(module) = module {
                let part = target.with_extension("").join(module).with_extension("rs");
                assert!(part.is_file(), "{module} of {file}");
            }
        }
    }
}

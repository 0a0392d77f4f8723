//! What the fuzz targets share.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Writes what a target begins with into the directory that `UC_FUZZ_SEEDS` names, where it does.
/// Called before the target's corpus is read.
pub fn write_seeds(seeds: impl IntoIterator<Item = Vec<u8>>) {
    let Some(directory) = env::var_os("UC_FUZZ_SEEDS").map(PathBuf::from) else { return };
    fs::create_dir_all(&directory).expect("the seeds' directory");
    for (index, seed) in seeds.into_iter().enumerate() {
        fs::write(directory.join(format!("seed-{index}")), seed).expect("a seed");
    }
}

/// A file of the repository.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect(path)
}

/// The JSON files of a directory of the repository, in any order.
pub fn read_all(directory: &str) -> Vec<String> {
    let files = fs::read_dir(root().join(directory)).expect(directory);
    let files = files.map(|file| file.expect("a file").path());
    let json = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    json.map(|path| fs::read_to_string(path).expect("a text")).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

//! Files that only their owner may read.

use std::fs::File;
use std::io;
use std::path::Path;

/// Creates or empties a file with mode 0600: keys and secrets of the local stack are in clear.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

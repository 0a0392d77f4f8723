//! DEFLATE (RFC 1951) of bytes in memory, and back within a bound.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What room is made at a time.
const STEP: usize = 4_096;

/// The bytes, deflated.
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut compress = Compress::new(Compression::default(), false);
    let mut deflated = Vec::with_capacity(bytes.len() / 2 + STEP);
    loop {
        let rest = &bytes[position(compress.total_in())..];
        let status = compress.compress_vec(rest, &mut deflated, FlushCompress::Finish);
        if status.expect("a stream that was not ended takes more") == Status::StreamEnd {
            return deflated;
        }
        deflated.reserve(STEP);
    }
}

/// What [`deflate`] was given, at most `limit` bytes. `None` where that would be more, or these
/// are not the bytes of one whole stream.
pub fn inflate(deflated: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut decompress = Decompress::new(false);
    let mut bytes = Vec::with_capacity(limit.min(STEP));
    loop {
        let (taken, made) = (position(decompress.total_in()), bytes.len());
        let status =
            decompress.decompress_vec(&deflated[taken..], &mut bytes, FlushDecompress::None);
        let taken_now = position(decompress.total_in());
        match status.ok()? {
            _ if bytes.len() > limit => return None,
            Status::StreamEnd => return (taken_now == deflated.len()).then_some(bytes),
            // It ends early.
            _ if taken_now == taken && bytes.len() == made => return None,
            _ => bytes.reserve(STEP),
        }
    }
}

fn position(total: u64) -> usize {
    usize::try_from(total).expect("no further than the end of what is in memory")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn there_and_back(bytes in prop::collection::vec(0..4_u8, 0..20_000), more in any::<u8>()) {
            let mut deflated = deflate(&bytes);
            prop_assert_eq!(inflate(&deflated, bytes.len()), Some(bytes.clone()));
            if let Some(less) = bytes.len().checked_sub(1) {
                prop_assert_eq!(inflate(&deflated, less), None);
            }
            prop_assert_eq!(inflate(&deflated[..deflated.len() - 1], bytes.len()), None);
            deflated.push(more);
            prop_assert_eq!(inflate(&deflated, bytes.len()), None);
        }

        #[test]
        fn any_bytes_inflate_within_the_limit(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(inflated) = inflate(&bytes, 1_000) {
                prop_assert!(inflated.len() <= 1_000);
            }
        }
    }

    #[test]
    fn what_inflates_without_end_is_refused() {
        let deflated = deflate(&vec![0; 50_000_000]);
        assert!(deflated.len() < 100_000);
        assert_eq!(inflate(&deflated, 1 << 20), None);
    }
}

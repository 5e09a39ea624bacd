//! The best quality whose file still has room: a search over whole encodings, each of which is a file.

use crate::failure::{Code, Failure};
use crate::limits::Size;

/// Encodes at `best`, and if that is too large at the highest quality below it that fits into `most`.
pub fn fitted(most: Size, best: u8, mut encode: impl FnMut(u8) -> Result<Vec<u8>, Failure>) -> Result<Vec<u8>, Failure> {
    let first = encode(best)?;
    if first.len() as u64 <= most.0 {
        return Ok(first);
    }
    let (mut low, mut high, mut found) = (1, best.saturating_sub(1), None);
    let mut smallest = first.len();
    while low <= high {
        let middle = low + (high - low) / 2;
        let file = encode(middle)?;
        smallest = smallest.min(file.len());
        if file.len() as u64 <= most.0 {
            found = Some(file);
            low = middle + 1;
        } else {
            high = middle - 1;
        }
    }
    found.ok_or_else(|| {
        let message = format!("Even at the lowest quality the picture takes {}, more than the {most} of `target_bytes`.", Size(smallest as u64));
        Failure::new(Code::InvalidOption, message).hint("Ask for a smaller width or height, or for more bytes.").stage("encode")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_that_fits_is_found() {
        for (most, wanted) in [(10_000, 95), (5_000, 50), (5_050, 50), (100, 1)] {
            let mut tries = 0;
            let file = fitted(Size(most), 95, |quality| {
                tries += 1;
                Ok(vec![quality; usize::from(quality) * 100])
            });
            assert_eq!(file.unwrap()[0], wanted);
            assert!(tries <= 8, "{tries}");
        }
        assert_eq!(fitted(Size(99), 95, |quality| Ok(vec![0; usize::from(quality) * 100])).unwrap_err().code, Code::InvalidOption);
        assert_eq!(fitted(Size(99), 1, |_| Ok(vec![0; 100])).unwrap_err().code, Code::InvalidOption);
    }
}

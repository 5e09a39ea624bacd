//! A buffered file whose buffer survives short ways: entries of a zip mostly lie one behind the other, and a plain buffered
//! reader reads its buffer anew at every seek.

use super::guard::Packed;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

pub struct Near {
    inner: BufReader<Packed>,
    at: u64,
}

impl Near {
    /// `inner` stands at the file's beginning.
    pub fn new(inner: BufReader<Packed>) -> Near {
        Near { inner, at: 0 }
    }
}

impl Read for Near {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Near {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let way = match to {
            SeekFrom::Start(to) => i64::try_from(to).ok().zip(i64::try_from(self.at).ok()).map(|(to, at)| to - at),
            SeekFrom::Current(way) => Some(way),
            SeekFrom::End(_) => None,
        };
        match way {
            Some(way) => {
                self.inner.seek_relative(way)?;
                self.at = self.at.checked_add_signed(way).ok_or(io::ErrorKind::InvalidInput)?;
            }
            None => self.at = self.inner.seek(to)?,
        }
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn it_reads_what_stands_there() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        file.write_all(&bytes).unwrap();
        file.rewind().unwrap();
        let mut near = Near::new(BufReader::with_capacity(1000, Packed::new(file)));
        for to in [SeekFrom::Start(10), SeekFrom::Current(5), SeekFrom::Start(900), SeekFrom::End(-7), SeekFrom::Start(3), SeekFrom::Start(99_000)] {
            let at = near.seek(to).unwrap() as usize;
            let mut found = [0; 5];
            near.read_exact(&mut found).unwrap();
            assert_eq!(found, bytes[at..at + 5], "{to:?}");
        }
        assert!(near.seek(SeekFrom::Current(-1_000_000)).is_err());
    }
}

//! Files with holes as pax stores them: only what is between the holes is in the archive, with a map of where it belongs
//! (the `GNU.sparse` keys, versions 0.1 and 1.0).

use std::collections::VecDeque;
use std::io::{self, Read};

/// More pieces than this are no file but an attack.
const PIECES_MAX: usize = 1_000_000;
/// Digits of a number in a map.
const DIGITS_MAX: usize = 20;
const RECORD: usize = 512;

/// What the keys of an entry say.
#[derive(Default)]
pub struct Sparse {
    pub name: Option<Vec<u8>>,
    /// With its holes.
    pub size: u64,
    /// None: the map stands before the data.
    map: Option<Vec<u64>>,
}

impl Sparse {
    /// None for a file without holes; an error for a map in a form of its own.
    pub fn of(entry: &mut ::tar::Entry<impl Read>) -> io::Result<Option<Sparse>> {
        let mut found = None::<Sparse>;
        for extension in entry.pax_extensions()?.into_iter().flatten() {
            let extension = extension?;
            let Some(key) = extension.key_bytes().strip_prefix(b"GNU.sparse.") else { continue };
            let sparse = found.get_or_insert_default();
            let value = extension.value_bytes();
            let text = || std::str::from_utf8(value).map_err(|_| wrong());
            match key {
                b"name" => sparse.name = Some(value.to_vec()),
                b"realsize" | b"size" => sparse.size = text()?.parse().map_err(|_| wrong())?,
                b"map" => sparse.map = Some(text()?.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?),
                // Version 0.0: the pieces are given by keys that come again and again, which are not told in order here.
                b"offset" => return Err(io::ErrorKind::Unsupported.into()),
                _ => {}
            }
        }
        Ok(found)
    }
}

fn wrong() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a map of holes that makes no sense")
}

/// The whole file, its holes as zeros.
pub struct Holes<R> {
    inner: R,
    /// Where each piece begins and how long it is.
    pieces: VecDeque<(u64, u64)>,
    at: u64,
    size: u64,
}

impl<R: Read> Holes<R> {
    pub fn new(mut inner: R, sparse: Sparse) -> io::Result<Holes<R>> {
        let numbers = match sparse.map {
            Some(map) => map,
            None => map(&mut inner)?,
        };
        let pieces: VecDeque<(u64, u64)> = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let mut end = 0;
        for (start, length) in &pieces {
            let fits = *start >= end;
            end = start.checked_add(*length).filter(|end| fits && *end <= sparse.size).ok_or_else(wrong)?;
        }
        Ok(Holes { inner, pieces, at: 0, size: sparse.size })
    }
}

/// The map before the data: the number of pieces, then where each begins and how long it is, each on a line of its own.
fn map(inner: &mut impl Read) -> io::Result<Vec<u64>> {
    let mut taken = 0;
    let mut number = || -> io::Result<u64> {
        let mut digits = String::new();
        loop {
            let mut byte = [0];
            inner.read_exact(&mut byte)?;
            taken += 1;
            match byte[0] {
                b'\n' => return digits.parse().map_err(|_| wrong()),
                b'0'..=b'9' if digits.len() < DIGITS_MAX => digits.push(char::from(byte[0])),
                _ => return Err(wrong()),
            }
        }
    };
    let count = usize::try_from(number()?).ok().filter(|count| *count <= PIECES_MAX).ok_or_else(wrong)?;
    let numbers = (0..count * 2).map(|_| number()).collect::<io::Result<Vec<u64>>>()?;
    let padding = (RECORD - taken % RECORD) % RECORD;
    io::copy(&mut inner.take(padding as u64), &mut io::sink())?;
    Ok(numbers)
}

impl<R: Read> Read for Holes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.pieces.front().is_some_and(|(start, length)| self.at == start + length) {
            self.pieces.pop_front();
        }
        let (within, until) = match self.pieces.front() {
            Some((start, length)) if self.at >= *start => (true, start + length),
            Some((start, _)) => (false, *start),
            None => (false, self.size),
        };
        let most = usize::try_from(until - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let part = buffer.get_mut(..most).unwrap_or_default();
        let read = if within {
            self.inner.read(part)?
        } else {
            part.fill(0);
            part.len()
        };
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(map: &[u64], size: u64, data: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Holes::new(data, Sparse { name: None, size, map: Some(map.to_vec()) })?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn holes_are_zeros() {
        assert_eq!(whole(&[2, 3, 7, 1], 10, b"abcd").unwrap(), b"\0\0abc\0\0d\0\0");
        assert_eq!(whole(&[0, 2, 2, 2, 4, 0], 4, b"abcd").unwrap(), b"abcd");
        assert_eq!(whole(&[], 3, b"").unwrap(), b"\0\0\0");
        for bad in [&[2, 3, 1, 1][..], &[8, 3], &[u64::MAX, 2]] {
            assert!(whole(bad, 10, b"abcd").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_map_stands_before_the_data() {
        let mut data = b"1\n3\n2\n".to_vec();
        data.resize(RECORD, 0);
        data.extend(b"ab");
        let mut out = Vec::new();
        Holes::new(data.as_slice(), Sparse { name: None, size: 6, map: None }).unwrap().read_to_end(&mut out).unwrap();
        assert_eq!(out, b"\0\0\0ab\0");
        assert!(Holes::new(&b"99999999999\n"[..], Sparse::default()).is_err());
        assert!(Holes::new(&b"x"[..], Sparse::default()).is_err());
    }
}

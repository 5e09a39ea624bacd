//! A message's body: unpacked, then read. Bounded, for anybody who reaches the broker can send one.

use serde_json::Value;
use std::io::Read;

/// Of one body, unpacked.
const BODY_MAX: u64 = 16 << 20;

/// Reads a body of this content type. Pickle is a program and never read.
pub fn read(bytes: Vec<u8>, compression: Option<&str>, kind: &str) -> Result<Value, String> {
    let bytes = match compression {
        None => bytes,
        Some(packing) => unpack(&bytes, packing)?,
    };
    match kind {
        "application/json" => serde_json::from_slice(&bytes).map_err(|e| format!("the body is not JSON: {e}")),
        "application/x-msgpack" => rmp_serde::from_slice(&bytes).map_err(|e| format!("the body is not msgpack: {e}")),
        // Its aliases may stand for no more than the reader's own budget allows.
        "application/x-yaml" => serde_saphyr::from_slice(&bytes).map_err(|e| format!("the body is not YAML: {e}")),
        "application/x-python-serialize" => Err("Refusing to deserialize untrusted content of type pickle (application/x-python-serialize)".into()),
        other => Err(format!("Refusing to deserialize disabled content of type {other}")),
    }
}

fn unpack(bytes: &[u8], packing: &str) -> Result<Vec<u8>, String> {
    let reader: Box<dyn Read> = match packing {
        // kombu's own name for it; the stream is zlib's.
        "application/x-gzip" => Box::new(flate2::read::ZlibDecoder::new(bytes)),
        "application/x-bz2" => Box::new(bzip2::read::BzDecoder::new(bytes)),
        "application/x-brotli" => Box::new(brotli_decompressor::Decompressor::new(bytes, 4096)),
        "application/x-lzma" => Box::new(liblzma::read::XzDecoder::new(bytes)),
        "application/zstd" => Box::new(zstd::stream::read::Decoder::new(bytes).map_err(|e| e.to_string())?),
        other => return Err(format!("the compression {other} is not known")),
    };
    let mut plain = Vec::new();
    reader.take(BODY_MAX + 1).read_to_end(&mut plain).map_err(|e| format!("the body cannot be unpacked: {e}"))?;
    if plain.len() as u64 > BODY_MAX {
        return Err("the body is larger than 16 MiB".into());
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn packed_bodies_are_read_and_bombs_are_not() {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(b"[[1],{},{}]").unwrap();
        let packed = zlib.finish().unwrap();
        assert_eq!(read(packed, Some("application/x-gzip"), "application/json").unwrap(), serde_json::json!([[1], {}, {}]));
        let bomb = zstd::encode_all(&vec![b' '; 32 << 20][..], 1).unwrap();
        assert!(read(bomb, Some("application/zstd"), "application/json").unwrap_err().contains("16 MiB"));
    }

    #[test]
    fn pickle_is_refused_and_msgpack_and_yaml_are_read() {
        assert!(read(b"cos\nsystem\n".to_vec(), None, "application/x-python-serialize").unwrap_err().contains("pickle"));
        let packed = rmp_serde::to_vec(&serde_json::json!([["a"], {"b": 1}, {"chain": null}])).unwrap();
        assert_eq!(read(packed, None, "application/x-msgpack").unwrap()[1]["b"], 1);
        let yaml = read(b"- [a, 2, 'no']\n- {b: 1.5, c: null}\n- {chain: null}\n".to_vec(), None, "application/x-yaml").unwrap();
        assert_eq!(yaml, serde_json::json!([["a", 2, "no"], {"b": 1.5, "c": null}, {"chain": null}]));
    }

    #[test]
    fn a_few_bytes_of_yaml_do_not_become_many() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..10 {
            let ten = vec![format!("*a{}", n - 1); 10].join(", ");
            bomb += &format!("a{n}: &a{n} [{ten}]\n");
        }
        assert!(read(bomb.into_bytes(), None, "application/x-yaml").unwrap_err().contains("YAML"));
    }
}

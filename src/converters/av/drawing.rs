//! What is drawn over a film's pictures.

use crate::convert::Ctx;
use crate::converters::watermark::Watermark;
use crate::failure::Failure;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Default)]
pub struct Drawing {
    /// A script of ours with the words to be shown, in the times of the result.
    pub words: Option<PathBuf>,
    pub mark: Option<Watermark>,
}

impl Drawing {
    /// Why the picture cannot be copied, if anything is drawn.
    pub fn wants_encoder(&self) -> Option<&'static str> {
        Drawing::because(self.words.is_some(), self.mark.is_some())
    }

    /// The same of a drawing that is still to be made.
    pub fn because(has_words: bool, has_mark: bool) -> Option<&'static str> {
        match (has_words, has_mark) {
            (true, _) => Some("subtitles are drawn into it"),
            (false, true) => Some("a watermark is laid over it"),
            (false, false) => None,
        }
    }

    /// The filters for pictures of this size, the `n`th made of the film, in their order; words and numbers, and paths of ours.
    pub fn filters(&self, ctx: &Ctx, n: usize, size: (u32, u32)) -> Result<Vec<String>, Failure> {
        let mut chain: Vec<String> = self.words.iter().map(|path| format!("ass=filename={}", quoted(path))).collect();
        if let Some(mark) = &self.mark {
            let (stamp, path) = (mark.stamp(size)?, ctx.scratch.join(format!("mark{n}.png")));
            stamp.image.save(&path).map_err(|e| Failure::internal(e).stage("open"))?;
            let (file, left, top) = (quoted(&path), stamp.left, stamp.top);
            chain.push(format!(
                "null[film{n}];movie=filename={file}:format_name=png_pipe[mark{n}];[film{n}][mark{n}]overlay=x={left}:y={top}:format=auto"
            ));
        }
        Ok(chain)
    }
}

/// A path as the language of filter graphs wants it: escaped as an option's value, and that again as a part of the graph
/// (<https://ffmpeg.org/ffmpeg-filters.html#Notes-on-filtergraph-escaping>).
fn quoted(path: &Path) -> String {
    let escape =
        |text: &str, special: &str| text.chars().flat_map(|c| special.contains(c).then_some('\\').into_iter().chain([c])).collect::<String>();
    escape(&escape(&path.to_string_lossy(), "\\':"), "\\'[],;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_nothing_but_paths() {
        assert_eq!(quoted(Path::new("/a/b.ass")), "/a/b.ass");
        assert_eq!(quoted(Path::new("/a:b'c")), r"/a\\:b\\\'c");
        assert_eq!(quoted(Path::new("/a,b;[c]\\d")), r"/a\,b\;\[c\]\\\\d");
    }
}

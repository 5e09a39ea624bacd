//! Filter graphs for pictures, from frames of one shape through a chain of ours.

use super::ffi;
use ffmpeg_next::filter::{self, Graph};
use ffmpeg_next::{Error, Rational, frame};

/// A chain that forks: what all share, then each branch to a sink of its own. Words and numbers of ours only.
#[derive(Debug, Clone, Default)]
pub struct Fork {
    /// Empty, or with a comma at its end.
    pub trunk: String,
    pub branches: Vec<String>,
}

impl Fork {
    /// The name of a branch's sink.
    pub fn sink(branch: usize) -> String {
        format!("out{branch}")
    }

    /// In FFmpeg's language for graphs.
    fn text(&self) -> String {
        let Fork { trunk, branches } = self;
        if let [only] = branches.as_slice() {
            return format!("[in]{trunk}{only}[{}]", Fork::sink(0));
        }
        let label = |n: usize| format!("[branch{n}]");
        let labels: String = (0..branches.len()).map(label).collect();
        let ways = branches.iter().enumerate().map(|(n, branch)| format!(";{}{branch}[{}]", label(n), Fork::sink(n)));
        format!("[in]{trunk}split=outputs={}{labels}{}", branches.len(), ways.collect::<String>())
    }
}

/// A graph with the source `in` and a sink for each branch.
pub fn pictures(frame: &frame::Video, clock: Rational, rate: Rational, fork: &Fork, threads: usize) -> Result<Graph, Error> {
    let mut graph = Graph::new();
    ffi::set_graph_threads(&mut graph, threads.max(1));
    let (buffer, sink) = (filter::find("buffer").ok_or(Error::FilterNotFound)?, filter::find("buffersink").ok_or(Error::FilterNotFound)?);
    let format = frame.format().descriptor().map(|d| d.name()).unwrap_or("none");
    let aspect = frame.aspect_ratio();
    let arguments = format!(
        "video_size={}x{}:pix_fmt={format}:time_base={}/{}:pixel_aspect={}/{}:frame_rate={}/{}",
        frame.width(),
        frame.height(),
        clock.numerator(),
        clock.denominator(),
        aspect.numerator().max(0),
        aspect.denominator().max(1),
        rate.numerator(),
        rate.denominator(),
    );
    graph.add(&buffer, "in", &arguments)?;
    for branch in 0..fork.branches.len() {
        graph.add(&sink, &Fork::sink(branch), "")?;
    }
    let mut parser = graph.output("in", 0)?;
    for branch in 0..fork.branches.len() {
        parser = parser.input(&Fork::sink(branch), 0)?;
    }
    parser.parse(&fork.text())?;
    graph.validate()?;
    Ok(graph)
}

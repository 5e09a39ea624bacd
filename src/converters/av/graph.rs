//! Filter graphs for pictures, from frames of one shape through a chain of ours.

use super::ffi;
use ffmpeg_next::filter::{self, Graph};
use ffmpeg_next::{Error, Rational, frame};

/// A graph with the source `in` and the sink `out`.
pub fn pictures(frame: &frame::Video, clock: Rational, rate: Rational, chain: &str, threads: usize) -> Result<Graph, Error> {
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
    graph.add(&sink, "out", "")?;
    graph.output("in", 0)?.input("out", 0)?.parse(chain)?;
    graph.validate()?;
    Ok(graph)
}

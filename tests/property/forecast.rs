//! What is learned from finished jobs, by jobs whose cost is known.

use crate::support::records::at;
use millrace::forecast::{Past, Wanted, predict, size_bytes};
use millrace::format::Format;
use millrace::intake::engine_job;
use millrace::job::{Attempt, Input, Job, JobId, Media, State, Stream};
use millrace::progress::Progress;
use millrace::queue::Queues;
use proptest::prelude::*;
use serde_json::{Value, json};

fn format(id: &str) -> Format {
    Format::parse(id).unwrap()
}

/// A finished job of the image queue, as its record reads.
fn job(from: &str, media: Media, outputs: &[(&str, Value, u64)], (second, seconds, memory_bytes): (i64, i64, u64)) -> Job {
    let mut job = engine_job(&Queues::load(&[]).unwrap(), "image.transcode", at(second)).job;
    (job.id, job.state) = (JobId::new(), State::Succeeded);
    job.input = Some(Input { name: "a".into(), size_bytes: 1000, sha256: String::new(), format: format(from), media });
    let made = |(to, options, size_bytes): &(&str, Value, u64)| {
        let (name, options, size_bytes) = (format!("a.{to}"), options.clone(), Some(*size_bytes));
        let (converter, to, size) = ("image.transcode".to_owned(), format(to), size_bytes);
        serde_json::from_value(json!({
            "name": name, "group": name, "converter": converter, "to": to, "preset": null, "options": options, "state": "succeeded",
            "progress": Progress::default(), "error": null, "size_bytes": size, "sha256": null, "format": to,
            "verification": null, "url": null, "ready_at": at(second + seconds)
        }))
        .unwrap()
    };
    job.outputs = outputs.iter().map(made).collect();
    job.attempts = vec![Attempt {
        number: 1,
        worker: "w".into(),
        started_at: at(second),
        finished_at: Some(at(second + seconds)),
        cause: Some("succeeded".into()),
        cpu_ms: 1,
        memory_peak_bytes: memory_bytes,
        scratch_peak_bytes: 0,
        sandbox_level: 3,
    }];
    job
}

fn picture(side: u32) -> Media {
    Media { width: Some(side), height: Some(side), ..Media::default() }
}

/// One that took a second and a byte for each hundred rows and a thousand for each of memory.
fn plain(second: i64, side: u32, options: Value) -> Job {
    let pixels = u64::from(side) * u64::from(side);
    job("png", picture(side), &[("webp", options, pixels / 100)], (second, i64::from(side) / 100, pixels * 4))
}

fn asked(side: u32, outputs: &[(&str, Value)]) -> Wanted {
    let input = Input { name: "b".into(), size_bytes: 1000, sha256: String::new(), format: format("png"), media: picture(side) };
    Wanted::new(&input, outputs.iter().map(|(to, options)| ("image.transcode", format(to), options)))
}

fn learn(jobs: &[Job]) -> Vec<Past> {
    jobs.iter().map(|job| Past::of(job).expect("it teaches something")).collect()
}

#[test]
fn nothing_is_told_where_nothing_was_learned() {
    let past = learn(&[plain(0, 100, json!({}))]);
    assert_eq!(predict(&asked(100, &[("webp", json!({}))]), &[]), None);
    assert_eq!(predict(&asked(100, &[("avif", json!({}))]), &past), None);
    assert_eq!(size_bytes(&asked(100, &[("avif", json!({}))]), &past), None);
}

#[test]
fn a_larger_picture_takes_more_as_smaller_ones_did() {
    let past = learn(&[plain(0, 100, json!({})), plain(10, 200, json!({})), plain(20, 400, json!({}))]);
    let told = predict(&asked(800, &[("webp", json!({}))]), &past).unwrap();
    assert_eq!(told.learned_from, 3);
    assert!((5000..8000).contains(&told.size_bytes) && (2_000_000..3_000_000).contains(&told.memory_bytes), "{told:?}");
    assert!(told.seconds >= 4.0 && told.scratch_bytes >= told.size_bytes, "{told:?}");
}

#[test]
fn the_same_options_teach_more_than_others() {
    let (small, large) = (json!({"width": 10, "quality": 80}), json!({"width": 900, "quality": 80}));
    let options = |second, options: &Value, bytes| job("png", picture(500), &[("webp", options.clone(), bytes)], (second, 1, 100));
    let past = learn(&[
        options(0, &small, 50),
        options(1, &large, 9000),
        options(2, &large, 9100),
        options(3, &json!({"width": 900, "title": "x", "quality": 80}), 8000),
    ]);
    let told = |options: Value| predict(&asked(500, &[("webp", options)]), &past).unwrap();
    assert_eq!((told(small.clone()).size_bytes, told(small).learned_from), (50, 1));
    assert_eq!((told(large.clone()).size_bytes, told(large).learned_from), (9000, 2));
    // A title costs nothing; a width does.
    assert_eq!(told(json!({"width": 900, "title": "y", "quality": 80})).learned_from, 3);
    assert_eq!(told(json!({"width": 30})).learned_from, 4);
}

#[test]
fn films_of_other_codecs_teach_less() {
    let media = |codec: &str| {
        let streams = vec![Stream { kind: "video".into(), codec: codec.into(), ..Stream::default() }];
        Media { duration_ms: Some(10_000), streams, ..picture(100) }
    };
    let past = learn(&[
        job("mp4", media("h264"), &[("mkv", json!({}), 100)], (0, 1, 10)),
        job("mp4", media("hevc"), &[("mkv", json!({}), 900)], (5, 9, 90)),
    ]);
    let input = |codec| Input { name: "b".into(), size_bytes: 1, sha256: String::new(), format: format("mp4"), media: media(codec) };
    let told = |codec| predict(&Wanted::new(&input(codec), [("image.transcode", format("mkv"), &json!({}))].into_iter()), &past).unwrap();
    assert_eq!((told("h264").size_bytes, told("hevc").size_bytes, told("vp9").learned_from), (100, 900, 2));
}

#[test]
fn outputs_are_told_apart_and_together() {
    let (thumb, full) = (("webp", json!({"width": 10})), ("avif", json!({})));
    let both = job("png", picture(500), &[("webp", thumb.1.clone(), 50), ("avif", full.1.clone(), 7000)], (0, 5, 100));
    let past = learn(&[both]);
    let told = predict(&asked(500, &[full.clone(), thumb.clone()]), &past).unwrap();
    assert_eq!((told.size_bytes, told.seconds, told.scratch_bytes), (7050, 5.0, 7050));
    assert_eq!(size_bytes(&asked(500, std::slice::from_ref(&thumb)), &past), Some(50));
    assert_eq!(predict(&asked(500, std::slice::from_ref(&thumb)), &past), None, "its time and memory were never those of one");
    // Made one by one they tell of both.
    let apart = [("webp", thumb.1.clone(), 50, 2), ("avif", full.1.clone(), 7000, 3)];
    let past = learn(&apart.map(|(to, options, bytes, seconds)| job("png", picture(500), &[(to, options, bytes)], (0, seconds, bytes))));
    let told = predict(&asked(500, &[thumb, full]), &past).unwrap();
    assert_eq!((told.size_bytes, told.seconds, told.memory_bytes, told.learned_from), (7050, 5.0, 7000, 2));
}

#[test]
fn what_was_not_made_in_one_go_teaches_nothing() {
    let good = plain(100, 100, json!({}));
    let mut partial = good.clone();
    partial.partial = true;
    let mut unjailed = good.clone();
    unjailed.attempts[0].memory_peak_bytes = 0;
    let mut continued = good.clone();
    continued.outputs[0].ready_at = Some(at(50));
    let mut failed = good.clone();
    failed.state = State::Failed;
    assert!(Past::of(&good).is_some());
    assert!([partial, unjailed, continued, failed].iter().all(|job| Past::of(job).is_none()));
}

#[test]
fn the_newest_fifty_teach() {
    let jobs: Vec<Job> = (0..80).map(|n| job("png", picture(100), &[("webp", json!({}), if n < 30 { 9000 } else { 70 })], (n, 1, 10))).collect();
    let told = predict(&asked(100, &[("webp", json!({}))]), &learn(&jobs)).unwrap();
    assert_eq!((told.learned_from, told.size_bytes, told.scratch_bytes), (50, 70, 70));
}

proptest! {
    #[test]
    fn more_work_is_never_told_to_take_less_and_the_order_says_nothing(
        done in prop::collection::vec((1u32..5000, 0i64..1000, 0u64..1 << 40, 1u64..1 << 40, 0i64..100), 1..20),
        (one, other) in (1u32..20_000, 1u32..20_000),
    ) {
        let jobs: Vec<Job> = done.iter().map(|(side, seconds, size, memory, second)| {
            job("png", picture(*side), &[("webp", json!({}), *size)], (*second, *seconds, *memory))
        }).collect();
        let mut past = learn(&jobs);
        let tell = |past: &[Past], side| predict(&asked(side, &[("webp", json!({}))]), past).unwrap();
        let (less, more) = (tell(&past, one.min(other)), tell(&past, one.max(other)));
        prop_assert!(less.seconds >= 0.0 && more.seconds.is_finite());
        prop_assert!(less.seconds <= more.seconds && less.memory_bytes <= more.memory_bytes);
        prop_assert!(less.size_bytes <= more.size_bytes && less.scratch_bytes <= more.scratch_bytes);
        past.reverse();
        prop_assert_eq!(tell(&past, one.min(other)), less);
    }
}

//! Writes down what this worker did, for the charts: attempts, slots and the host's processors, every few seconds.

use super::Engine;
use super::load::Sensor;
use super::running::Running;
use crate::store::{Measure, Sums};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Between two looks at the slots.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What a worker that is killed has not written down yet is at most this old.
const WRITE_EVERY: Duration = Duration::from_secs(10);

pub struct Chronicle {
    engine: Arc<Engine>,
    running: Arc<Running>,
    sensor: Sensor,
    /// Not written down yet.
    sums: Sums,
    looked: Instant,
    written: Instant,
}

impl Chronicle {
    pub fn new(engine: Arc<Engine>, running: Arc<Running>) -> Self {
        let mut sensor = Sensor::default();
        // The first reading is that of the time since the host's start.
        sensor.read();
        Chronicle { engine, running, sensor, sums: Sums::new(), looked: Instant::now(), written: Instant::now() }
    }

    /// Until stopped, and once more then.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            self.look();
            if self.written.elapsed() >= WRITE_EVERY {
                self.write().await;
            }
        }
        self.write().await;
    }

    fn look(&mut self) {
        let passed_s = self.looked.elapsed().as_secs_f64();
        self.looked = Instant::now();
        for pool in self.running.pools() {
            let measures = self.sums.entry(pool.queue).or_default();
            *measures.entry(Measure::UsedS).or_default() += pool.running.len() as f64 * passed_s;
            *measures.entry(Measure::OpenS).or_default() += f64::from(pool.slots) * passed_s;
        }
    }

    async fn write(&mut self) {
        let passed_s = self.written.elapsed().as_secs_f64();
        self.written = Instant::now();
        let busy = 1.0 - self.sensor.read().cpu_idle;
        let host = Sums::from([(String::new(), [(Measure::BusyS, busy * passed_s), (Measure::MeasuredS, passed_s)].into())]);
        for (queue, measures) in self.engine.meters.take_sums().into_iter().chain(host) {
            let sums = self.sums.entry(queue).or_default();
            measures.into_iter().for_each(|(measure, value)| *sums.entry(measure).or_default() += value);
        }
        match self.engine.store.add(self.sums.clone(), self.engine.clock.now()).await {
            Ok(()) => self.sums.clear(),
            Err(error) => tracing::warn!(%error, "the history could not be written; it is tried again with the next"),
        }
    }
}

//! What jobs run in here: nothing at all, in this process, or in a real jail.

use millrace::convert::{Expect, Produced, ProducedFile};
use millrace::sandbox::{Child, Control, End, Exit, ForkServer, LaunchError, Launcher, Order, Report, Wear, Work, Zygotes, output_folder};
use millrace::worker::Renewable;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{mpsc, oneshot};

/// Tells the name of each job's input, and launches what `inner` does.
struct Telling {
    inner: Arc<dyn Launcher>,
    started: UnboundedSender<String>,
}

#[async_trait::async_trait]
impl Launcher for Telling {
    async fn launch(&self, order: Order) -> Result<Child, LaunchError> {
        // Nobody listening is fine.
        let _ = self.started.send(order.input.name.clone());
        self.inner.launch(order).await
    }
}

/// A child that has ended well before it began, and left an empty file for each output.
struct NoOp;

impl Control for NoOp {
    fn stop(&self) {}

    fn kill(&self) {}
}

#[async_trait::async_trait]
impl Launcher for NoOp {
    async fn launch(&self, order: Order) -> Result<Child, LaunchError> {
        let failed = |why: &dyn std::fmt::Display| LaunchError::Unavailable("no-op", why.to_string());
        let Work::Convert(outputs) = order.work else { return Err(failed(&"nothing is probed here")) };
        let (report, reports) = mpsc::channel(outputs.len().max(1));
        for output in outputs {
            let folder = output_folder(&order.staging, output.index);
            std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(folder.join("made"), "")).map_err(|e| failed(&e))?;
            let file = ProducedFile { file: "made".into(), name: output.name, format: output.to, expect: Expect::default() };
            let result = Ok(Produced { files: vec![file], warnings: Vec::new(), looks: None });
            let _ = report.try_send(Report::Output { output: output.index, result });
        }
        let (ended, exit) = oneshot::channel();
        let _ = ended.send(Exit { end: End::Clean, cpu_ms: 0, memory_peak_bytes: 0, scratch_peak_bytes: 0, sandbox_level: 0 });
        Ok(Child { reports, exit, control: Box::new(NoOp) })
    }
}

/// No jail, or that of this millrace. `started` hears the name of each job's input.
pub fn launcher(millrace: Option<&Path>, started: UnboundedSender<String>) -> std::io::Result<Arc<Renewable>> {
    let inner: Arc<dyn Launcher> = match millrace {
        None => Arc::new(NoOp),
        Some(path) => Arc::new(Zygotes::new(ForkServer::executed(path, &[]), Wear::default())?),
    };
    Ok(Renewable::new(Arc::new(Telling { inner, started }), || Err("there is one launcher only".into())))
}

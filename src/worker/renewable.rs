//! A launcher that can be exchanged for a new one while the service runs.

use crate::sandbox::{Child, LaunchError, Launcher, Order};
use std::sync::{Arc, Mutex, PoisonError};

type Make = dyn Fn() -> Result<Arc<dyn Launcher>, String> + Send + Sync;

pub struct Renewable {
    current: Mutex<Arc<dyn Launcher>>,
    make: Box<Make>,
}

impl Renewable {
    /// Begins with `first`; [`Renewable::renew`] makes the next ones.
    pub fn new(first: Arc<dyn Launcher>, make: impl Fn() -> Result<Arc<dyn Launcher>, String> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Renewable { current: Mutex::new(first), make: Box::new(make) })
    }

    /// Takes a new launcher and ends the old one with every child it still has. The old one stays when none can be made.
    pub async fn renew(&self) -> Result<(), String> {
        let new = (self.make)()?;
        let old = std::mem::replace(&mut *self.current.lock().unwrap_or_else(PoisonError::into_inner), new);
        // It waits for its zygotes to end.
        tokio::task::spawn_blocking(move || drop(old)).await.map_err(|e| e.to_string())
    }
}

#[async_trait::async_trait]
impl Launcher for Renewable {
    async fn launch(&self, order: Order) -> Result<Child, LaunchError> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        current.launch(order).await
    }
}
